// W3C trace context, level 1: https://www.w3.org/TR/trace-context/#traceparent-header

const HEX = [];
for (let byte = 0; byte < 256; byte += 1) {
  HEX.push(byte.toString(16).padStart(2, '0'));
}

// The root span's id is the second half of the trace's: so whoever has the sample can write that span (loadtests/client_spans.py).
export function newTrace() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let hex = '';
  for (const byte of bytes) {
    hex += HEX[byte];
  }
  return { traceId: hex, traceparent: `00-${hex}-${hex.slice(16)}-01` };
}
