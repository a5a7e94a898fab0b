#pragma once
#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert {

// What a process reports at one moment. Every module adds its own series beside its counters; series with the
// same name and labels are added up, so each worker reports for itself.
class Metrics {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // Only goes up while the process runs. The name ends in "_total".
  void counter(std::string_view name, std::string_view help, uint64_t value, Labels labels = {});
  // Goes up and down. Names carry their unit: "_seconds", "_bytes".
  void gauge(std::string_view name, std::string_view help, double value, Labels labels = {});

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
    std::string type;  // "counter" or "gauge"
    std::string help;
    std::map<std::string, std::set<std::string>> labels;  // their values, by name
  };
  std::vector<Description> describe() const;

 private:
  enum class Type : uint8_t { kCounter, kGauge };
  struct Family {
    Type type;
    std::string help;
    std::map<std::string, double> samples = {};  // by labels as they are printed
    std::map<std::string, std::set<std::string>> labels = {};
  };

  static const char* to_string(Type type);
  Family& family(Type type, std::string_view name, std::string_view help);
  void add(Type type, std::string_view name, std::string_view help, double value, Labels labels);

  std::map<std::string, Family, std::less<>> families_;
};

}  // namespace culvert
