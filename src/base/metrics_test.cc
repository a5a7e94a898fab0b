#include "base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/metrics_testing.h"

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

TEST(Metrics, SeriesOfOneLabelAreGivenTogether) {
  Metrics metrics;
  metrics.counters("a_total", "A.", "reason", {{"limit", 1}, {"hello", 2}});
  metrics.gauges("b", "B.", "state", {{"open", 3}, {"stuck", 0}});
  EXPECT_EQ(
      metrics.to_text(),
      "# HELP a_total A.\n# TYPE a_total counter\na_total{reason=\"hello\"} 2\na_total{reason=\"limit\"} 1\n"
      "# HELP b B.\n# TYPE b gauge\nb{state=\"open\"} 3\nb{state=\"stuck\"} 0\n");
}

TEST(Metrics, TextOfOthersCannotAddLines) {
  Metrics metrics;
  metrics.gauge("a", "Line\nbreak \\ \"quote\".", 1, {{"x", "1\"} 2\n# \\"}, {"y", "z"}});
  EXPECT_EQ(metrics.to_text(),
            "# HELP a Line\\nbreak \\\\ \"quote\".\n"
            "# TYPE a gauge\n"
            "a{x=\"1\\\"} 2\\n# \\\\\",y=\"z\"} 1\n");
}

TEST(Metrics, TellsWhatItHasForTheReference) {
  Metrics metrics, part;
  metrics.counter("b_total", "B.", 1, {{"reason", "x"}});
  part.counter("b_total", "B.", 1, {{"reason", "y"}});
  part.gauge("a", "A.", 2);
  metrics.add(part);
  const auto rows = metrics.describe();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].name, "a");
  EXPECT_EQ(rows[0].type, "gauge");
  EXPECT_TRUE(rows[0].labels.empty());
  EXPECT_EQ(rows[1].type, "counter");
  EXPECT_EQ(rows[1].help, "B.");
  EXPECT_EQ(rows[1].labels.at("reason"), (std::set<std::string>{"x", "y"}));
}

// The tests of the programs rely on this reader.
TEST(Exposition, FindsWhatBreaksTheRules) {
  using ::testing::Contains;
  using ::testing::HasSubstr;
  const std::string good =
      "# HELP culvert_a_total A.\n# TYPE culvert_a_total counter\nculvert_a_total{reason=\"x\"} 1\n"
      "culvert_a_total{reason=\"y\"} 2\n# HELP culvert_b B.\n# TYPE culvert_b gauge\nculvert_b 0.5\n";
  Exposition read(good);
  EXPECT_THAT(read.faults(), ::testing::IsEmpty());
  EXPECT_EQ(read.value("culvert_a_total{reason=\"y\"}"), 2);
  EXPECT_EQ(read.value("culvert_b"), 0.5);
  EXPECT_EQ(read.types().at("culvert_a_total"), "counter");
  struct Case {
    const char* from;
    const char* to;
    const char* fault;
  };
  for (const auto& [from, to, fault] : std::initializer_list<Case>{
           {"culvert_b 0.5\n", "culvert_b 0.5", "line feed"},
           {"culvert_b 0.5\n", "", "no sample"},
           {"culvert_b 0.5", "culvert_b x", "invalid value"},
           {"culvert_b 0.5", "culvert_b NaN", "invalid value"},
           {"culvert_b 0.5", "culvert_c 0.5", "outside its family"},
           {"# TYPE culvert_b gauge", "# TYPE culvert_b counter", "has the type counter"},
           {"# TYPE culvert_b gauge\n", "", "outside its family"},
           {"# HELP culvert_b B.\n", "", "misplaced"},
           {"# HELP culvert_b B.", "# HELP culvert_b", "not a sentence"},
           {"# HELP culvert_b B.", "# HELP culvert_b B \\x.", "escape"},
           {"# HELP culvert_b B.", "# HELP culvert_a_total B.", "two HELP"},
           {"{reason=\"y\"}", "{reason=\"x\"}", "twice"},
           {"{reason=\"y\"}", "{hostname=\"y\"}", "known labels"},
           {"{reason=\"y\"}", "{reason=\"Y z\"}", "unexpected label value"},
           {"{reason=\"y\"}", "{reason=\"y\",reason=\"z\"}", "appears twice"},
           {"{reason=\"y\"} 2", "{reason=\"y\"} -2", "negative"},
           {"{reason=\"y\"}", "{reason=\"y\"", "malformed labels"},
       }) {
    std::string bad = good;
    bad.replace(bad.find(from), std::string_view(from).size(), to);
    EXPECT_THAT(Exposition(bad).faults(), Contains(HasSubstr(fault))) << bad;
  }
}

TEST(Metrics, LargeCountersKeepEveryDigit) {
  Metrics metrics;
  metrics.counter("bytes_total", "Bytes.", 9'007'199'254'740'991);
  EXPECT_NE(metrics.to_text().find("bytes_total 9007199254740991\n"), std::string::npos) << metrics.to_text();
}

}  // namespace
}  // namespace culvert
