-- The load: distinct ids, and for each request a sampled W3C trace context that no other request has.
-- wrk -s load.lua URL -- SEED; prints what was sent as one line of JSON, times in µs.
local PREPARED = 1000
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  seed = tonumber(args[1])
  heads, tails = {}, {}
  for number = 1, PREPARED do
    local request = wrk.format("GET", "/items/" .. (1000 + number), {
      ["Host"] = "api.example.test:8000",
      ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) bench/1.0",
      ["Accept"] = "application/json",
      ["Accept-Encoding"] = "identity",
      ["X-Request-Id"] = string.format("%016x", number),
      ["traceparent"] = "@",
    })
    heads[number], tails[number] = request:match("^(.*)@(.*)$")
  end
  -- wrk asks once for a request that it does not send, to see whether it is a pipeline.
  sent = -1
end

function request()
  sent = sent + 1
  local number = sent % PREPARED + 1
  local parent = string.format("00-%08x%08x%08x%08x-%08x%08x-01", seed, 0x5eed5eed, 0x60600d, sent, seed, sent + 1)
  return heads[number] .. parent .. tails[number]
end

function done(summary, latency, _)
  local total = 0
  for _, thread in ipairs(threads) do
    total = total + thread:get("sent")
  end
  local errors = summary.errors
  print(string.format(
    '{"sent": %d, "answered": %d, "failed": %d, "duration": %d, "p50": %d, "p99": %d}',
    total, summary.requests, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)
  ))
end
