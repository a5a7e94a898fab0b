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

TEST(Metrics, AHistogramCountsWhatItsBucketsHold) {
  using namespace std::chrono_literals;
  DurationHistogram worker, other;
  for (const Duration took :
       {Duration(0ns), Duration(1ms), Duration(1ms + 1ns), Duration(10s), Duration(11s)})
    worker.count(took);
  other.count(300ms);
  Metrics metrics, part;
  metrics.histogram("a_seconds", "A.", worker, {{"method", "GET"}});
  part.histogram("a_seconds", "A.", other, {{"method", "GET"}});
  part.histogram("a_seconds", "A.", {}, {{"method", "PUT"}});
  part.histogram("b_seconds", "B.", other);
  metrics.add(part);
  const std::string text = metrics.to_text();
  const std::string begin =
      "# HELP a_seconds A.\n# TYPE a_seconds histogram\n"
      "a_seconds_bucket{method=\"GET\",le=\"0.001\"} 2\na_seconds_bucket{method=\"GET\",le=\"0.005\"} 3\n"
      "a_seconds_bucket{method=\"GET\",le=\"0.01\"} 3\na_seconds_bucket{method=\"GET\",le=\"0.025\"} 3\n"
      "a_seconds_bucket{method=\"GET\",le=\"0.05\"} 3\na_seconds_bucket{method=\"GET\",le=\"0.1\"} 3\n"
      "a_seconds_bucket{method=\"GET\",le=\"0.25\"} 3\na_seconds_bucket{method=\"GET\",le=\"0.5\"} 4\n"
      "a_seconds_bucket{method=\"GET\",le=\"1\"} 4\na_seconds_bucket{method=\"GET\",le=\"2.5\"} 4\n"
      "a_seconds_bucket{method=\"GET\",le=\"10\"} 5\na_seconds_bucket{method=\"GET\",le=\"+Inf\"} 6\n"
      "a_seconds_sum{method=\"GET\"} 21.302000001\na_seconds_count{method=\"GET\"} 6\n"
      "a_seconds_bucket{method=\"PUT\",le=\"0.001\"} 0\n";
  EXPECT_EQ(text.substr(0, begin.size()), begin);
  EXPECT_NE(text.find("\nb_seconds_bucket{le=\"0.25\"} 0\nb_seconds_bucket{le=\"0.5\"} 1\n"),
            std::string::npos);
  EXPECT_TRUE(text.ends_with("b_seconds_bucket{le=\"+Inf\"} 1\nb_seconds_sum 0.3\nb_seconds_count 1\n"))
      << text;
  const auto rows = metrics.describe();
  EXPECT_EQ(rows[0].type, "histogram");
  EXPECT_EQ(rows[0].labels.at("method"), (std::set<std::string>{"GET", "PUT"}));
  EXPECT_FALSE(rows[0].labels.contains("le"));
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
  const std::string histogram =
      "# HELP culvert_c_seconds C.\n# TYPE culvert_c_seconds histogram\n"
      "culvert_c_seconds_bucket{method=\"get\",le=\"0.1\"} "
      "1\nculvert_c_seconds_bucket{method=\"get\",le=\"+Inf\"} 3\n"
      "culvert_c_seconds_sum{method=\"get\"} 0.5\nculvert_c_seconds_count{method=\"get\"} 3\n";
  EXPECT_THAT(Exposition(histogram).faults(), ::testing::IsEmpty());
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
  for (const auto& [from, to, fault] : std::initializer_list<Case>{
           {"le=\"+Inf\"} 3", "le=\"+Inf\"} 0", "smaller than the bucket before"},
           {"_count{method=\"get\"} 3", "_count{method=\"get\"} 4", "is not that of its last bucket"},
           {",le=\"+Inf\"", "", "without a bound"},
           {"le=\"0.1\"", "le=\"1x\"", "unexpected label value"},
           {"_sum{", "_mean{", "outside its family"},
           {"_seconds_bucket{method=\"get\",le=\"+Inf\"} 3\n",
            "_seconds_bucket{method=\"get\",le=\"0.2\"} 3\n", "is not that of its last bucket"},
       }) {
    std::string bad = histogram;
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
