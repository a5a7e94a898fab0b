#include "ops/options.h"

namespace culvert::ops {

void describe(SettingsBuilder& settings, Options& options) {
  settings.section("metrics");
  settings.add(
      {.name = "listen",
       .help = "TCP address at which metrics and health are served",
       .details =
           "Plain HTTP without credentials: /metrics for Prometheus, /healthz and /readyz, and /status of "
           "an agent or an edge. Choose loopback or a network that only operators reach.",
       .default_text = "nowhere",
       .default_is_words = true,
       .example = "127.0.0.1:9100",
       .flag = "metrics-listen"},
      options.listen);
}

}  // namespace culvert::ops
