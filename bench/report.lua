-- For wrk: one line of JSON at the end; with BENCH_DELAY_MS each connection waits about so long before each request,
-- which turns 32 connections into a load of 32 / delay requests a second.
local mean = tonumber(os.getenv("BENCH_DELAY_MS"))

if mean then
  -- wrk waits whole milliseconds: the fraction becomes a probability.
  function delay()
    local wait = math.random() * 2 * mean
    return math.floor(wait + math.random())
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('JSON {"rate": %.1f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
