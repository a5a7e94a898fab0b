#include "base/metrics.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(Metrics, FamiliesAreSortedAndSamplesOfWorkersAreAdded) {
  Metrics metrics;
  metrics.gauge("b_open", "Open now.", 2);
  metrics.counter("a_refused_total", "Refused, by reason.", 3, {{"reason", "limit"}});
  metrics.gauge("b_open", "Open now.", 1.5);
  metrics.counter("a_refused_total", "Refused, by reason.", 1, {{"reason", "hello"}});
  metrics.counter("a_refused_total", "Refused, by reason.", 4, {{"reason", "limit"}});
  EXPECT_EQ(metrics.to_text(),
            "# HELP a_refused_total Refused, by reason.\n"
            "# TYPE a_refused_total counter\n"
            "a_refused_total{reason=\"hello\"} 1\n"
            "a_refused_total{reason=\"limit\"} 7\n"
            "# HELP b_open Open now.\n"
            "# TYPE b_open gauge\n"
            "b_open 3.5\n");
}

TEST(Metrics, ReportsOfPartsAreAdded) {
  Metrics all, part;
  all.counter("a_total", "A.", 1, {{"x", "y"}});
  part.counter("a_total", "A.", 2, {{"x", "y"}});
  part.gauge("b", "B.", 3);
  all.add(part);
  all.add(part);
  EXPECT_EQ(
      all.to_text(),
      "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"y\"} 5\n# HELP b B.\n# TYPE b gauge\nb 6\n");
}

TEST(Metrics, TextOfOthersCannotAddLines) {
  Metrics metrics;
  metrics.gauge("a", "Line\nbreak \\ \"quote\".", 1, {{"x", "1\"} 2\n# \\"}, {"y", "z"}});
  EXPECT_EQ(metrics.to_text(),
            "# HELP a Line\\nbreak \\\\ \"quote\".\n"
            "# TYPE a gauge\n"
            "a{x=\"1\\\"} 2\\n# \\\\\",y=\"z\"} 1\n");
}

TEST(Metrics, LargeCountersKeepEveryDigit) {
  Metrics metrics;
  metrics.counter("bytes_total", "Bytes.", 9'007'199'254'740'991);
  EXPECT_NE(metrics.to_text().find("bytes_total 9007199254740991\n"), std::string::npos) << metrics.to_text();
}

}  // namespace
}  // namespace culvert
