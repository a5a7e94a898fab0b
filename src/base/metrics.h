#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace culvert {

// How many of the times that something took were how long. All histograms have the same buckets, so that
// those of workers can be added, and each costs the same few series.
class DurationHistogram {
 public:
  // From what memory answers to what waits for a database or for a peer at the end of its time.
  static constexpr auto kBounds = std::to_array<std::chrono::milliseconds>(
      {std::chrono::milliseconds(1), std::chrono::milliseconds(5), std::chrono::milliseconds(10),
       std::chrono::milliseconds(25), std::chrono::milliseconds(50), std::chrono::milliseconds(100),
       std::chrono::milliseconds(250), std::chrono::milliseconds(500), std::chrono::milliseconds(1000),
       std::chrono::milliseconds(2500), std::chrono::milliseconds(10'000)});

  void count(Duration took);
  void add(const DurationHistogram& other);

  // Those that took no longer than kBounds[i] and longer than the bound before; the last: longer than all
  // bounds.
  const std::array<uint64_t, kBounds.size() + 1>& buckets() const { return buckets_; }
  Duration sum() const { return sum_; }

 private:
  std::array<uint64_t, kBounds.size() + 1> buckets_{};
  Duration sum_{};
};

// What a process reports at one moment. Every module adds its own series beside its counters; series with the
// same name and labels are added up, so each worker reports for itself.
class Metrics {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // Only goes up while the process runs. The name ends in "_total".
  void counter(std::string_view name, std::string_view help, uint64_t value, Labels labels = {});
  // Goes up and down. Names carry their unit: "_seconds", "_bytes".
  void gauge(std::string_view name, std::string_view help, double value, Labels labels = {});

  // The name ends in "_seconds".
  void histogram(std::string_view name, std::string_view help, const DurationHistogram& value,
                 Labels labels = {});

  // The series of a family that differ in one label, each with the label's value: {{"limit", 3}, ...}.
  using Values = std::initializer_list<std::pair<std::string_view, uint64_t>>;
  void counters(std::string_view name, std::string_view help, std::string_view label, Values values);
  void gauges(std::string_view name, std::string_view help, std::string_view label, Values values);

  // Adds what another part of the process reported.
  void add(const Metrics& other);

  // The text format 0.0.4 of Prometheus: families by name, samples by label.
  std::string to_text() const;

  // For the reference.
  struct Description {
    std::string name;
    std::string type;  // "counter", "gauge" or "histogram"
    std::string help;
    std::map<std::string, std::set<std::string>> labels;  // their values, by name
  };
  std::vector<Description> describe() const;

 private:
  enum class Type : uint8_t { kCounter, kGauge, kHistogram };
  struct Family {
    Type type;
    std::string help;
    std::map<std::string, double> samples = {};  // by labels as they are printed, without braces
    std::map<std::string, DurationHistogram> histograms = {};  // the same, in place of samples
    std::map<std::string, std::set<std::string>> labels = {};
  };

  static const char* to_string(Type type);
  Family& family(Type type, std::string_view name, std::string_view help);
  Family& family(Type type, std::string_view name, std::string_view help, Labels labels);
  void add(Type type, std::string_view name, std::string_view help, double value, Labels labels);

  std::map<std::string, Family, std::less<>> families_;
};

}  // namespace culvert
