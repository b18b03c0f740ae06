// W3C trace context, level 1: https://www.w3.org/TR/trace-context/#traceparent-header

const HEX = [];
for (let byte = 0; byte < 256; byte += 1) {
  HEX.push(byte.toString(16).padStart(2, '0'));
}

export function newTrace() {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  let hex = '';
  for (const byte of bytes) {
    hex += HEX[byte];
  }
  const traceId = hex.slice(0, 32);
  return { traceId, traceparent: `00-${traceId}-${hex.slice(32)}-01` };
}
