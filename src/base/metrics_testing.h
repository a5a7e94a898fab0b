#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// For tests: a strict reader of what Prometheus scrapes.
namespace culvert {

// The text format 0.0.4, and our own rules on top: every family has one HELP and then one TYPE in front of
// its samples, which stand together; families are in order; names begin with culvert_; those of counters, and
// only those, end in _total; no sample appears twice; every label is one whose values are few and ours to
// choose.
class Exposition {
 public:
  explicit Exposition(std::string_view text) {
    if (!text.ends_with('\n')) fault("the text does not end in a line feed");
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      read_line(text.substr(0, end));
      text.remove_prefix(std::min(text.size(), end + 1));
    }
    if (pending_type_) fault(fmt::format("{} has no sample", family_));
  }

  const std::vector<std::string>& faults() const { return faults_; }
  // "counter", "gauge" or "histogram", by family.
  const std::map<std::string, std::string>& types() const { return types_; }
  // By name with labels, as they are printed: culvert_x_total{reason="limit"}.
  std::optional<double> value(const std::string& series) const {
    auto found = samples_.find(series);
    return found == samples_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  static bool is_name(std::string_view name) {
    return !name.empty() && (name.front() < '0' || name.front() > '9') &&
           std::ranges::all_of(
               name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
  }
  void fault(std::string what) { faults_.push_back(std::move(what)); }

  void read_line(std::string_view line) {
    if (line.starts_with("# HELP ")) return begin_family(line.substr(7));
    if (line.starts_with("# TYPE ")) return read_type(line.substr(7));
    if (line.empty() || line.starts_with('#'))
      return fault(fmt::format("neither HELP, TYPE nor sample: {}", line));
    read_sample(line);
  }

  void begin_family(std::string_view rest) {
    if (pending_type_) fault(fmt::format("{} has no sample", family_));
    const std::string_view name = rest.substr(0, rest.find(' '));
    const std::string_view help = rest.substr(std::min(rest.size(), name.size() + 1));
    if (!is_name(name) || !name.starts_with("culvert_")) fault(fmt::format("invalid family name {}", name));
    if (types_.contains(std::string(name))) fault(fmt::format("{} has two HELP lines", name));
    if (!family_.empty() && name <= family_) fault(fmt::format("{} comes after {}", name, family_));
    if (!help.ends_with('.') || help.contains("  "))
      fault(fmt::format("{}: the help text is not a sentence", name));
    check_escapes(help, "\\n");
    family_ = name;
    types_[family_] = "";
    pending_type_ = true;
  }

  void read_type(std::string_view rest) {
    const std::string_view name = rest.substr(0, rest.find(' '));
    const std::string_view type = rest.substr(std::min(rest.size(), name.size() + 1));
    if (name != family_ || !types_[family_].empty()) fault(fmt::format("misplaced TYPE line of {}", name));
    if (type != "counter" && type != "gauge" && type != "histogram")
      fault(fmt::format("unexpected type of {}: {}", name, type));
    if ((type == "counter") != name.ends_with("_total") ||
        (type == "histogram" && !name.ends_with("_seconds")))
      fault(fmt::format("{} has the type {}", name, type));
    types_[family_] = type;
  }

  void read_sample(std::string_view line) {
    const size_t space = line.rfind(' ');
    if (space == std::string_view::npos) return fault(fmt::format("sample without a value: {}", line));
    const std::string_view series = line.substr(0, space);
    const std::string number(line.substr(space + 1));
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0' || !std::isfinite(value))
      fault(fmt::format("invalid value: {}", line));
    std::string_view name = series.substr(0, series.find('{'));
    const std::string_view labels = series.substr(name.size());
    if (types_[family_] == "histogram") {
      const std::string_view part = name.substr(std::min(name.size(), family_.size()));
      if (name.starts_with(family_) && (part == "_bucket" || part == "_sum" || part == "_count")) {
        read_histogram(part, labels, value);
        name = name.substr(0, family_.size());
      }
    }
    if (name != family_ || types_[family_].empty())
      fault(fmt::format("sample of {} outside its family", name));
    if (types_[family_] == "counter" && value < 0) fault(fmt::format("{} is negative", series));
    if (!labels.empty()) read_labels(labels);
    if (!samples_.emplace(series, value).second) fault(fmt::format("{} appears twice", series));
    pending_type_ = false;
  }

  // Buckets grow up to that of everything, which is the count.
  void read_histogram(std::string_view part, std::string_view labels, double value) {
    if (part == "_bucket") {
      if (!labels.contains("le=\"")) fault(fmt::format("bucket of {} without a bound", family_));
      const bool is_next = bucket_ && !bucket_is_last_;
      if (is_next && value < *bucket_) fault(fmt::format("{} is smaller than the bucket before", labels));
      bucket_ = value;
      bucket_is_last_ = labels.contains("le=\"+Inf\"");
    } else if (part == "_count") {
      if (!bucket_is_last_ || bucket_ != value)
        fault(fmt::format("the count of {}{} is not that of its last bucket", family_, labels));
    }
  }

  // {name="value",name="value"}
  void read_labels(std::string_view text) {
    static const std::set<std::string_view> kKnown = {"alpn",  "direction", "endpoint",  "fault",    "kind",
                                                      "le",    "method",    "reason",    "resource", "result",
                                                      "state", "status",    "transport", "version"};
    if (!text.ends_with('}')) return fault(fmt::format("malformed labels {}", text));
    std::set<std::string_view> seen;
    std::string_view rest = text.substr(1, text.size() - 2);
    while (true) {
      const size_t equals = rest.find("=\"");
      const std::string_view name = rest.substr(0, equals);
      if (equals == std::string_view::npos || !is_name(name))
        return fault(fmt::format("malformed labels {}", text));
      if (!kKnown.contains(name)) fault(fmt::format("label {} is not in the list of known labels", name));
      if (!seen.insert(name).second) fault(fmt::format("label {} appears twice", name));
      rest.remove_prefix(equals + 2);
      const size_t quote = rest.find('"');  // the values of enums have no quotes
      if (quote == std::string_view::npos) return fault(fmt::format("malformed labels {}", text));
      const std::string_view value = rest.substr(0, quote);
      const bool is_bound = value == "+Inf" || std::ranges::all_of(value, [](char c) {
                              return (c >= '0' && c <= '9') || c == '.';
                            });
      if (name == "le" && !is_bound) fault(fmt::format("unexpected label value {}", value));
      const bool is_word = name == "le" || (!value.empty() && std::ranges::all_of(value, [](char c) {
                             return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
                                    c == '.' || c == '-' || c == '/';
                           }));
      if (!is_word) fault(fmt::format("unexpected label value {}", value));
      rest.remove_prefix(quote + 1);
      if (rest.empty()) return;
      if (!rest.starts_with(',')) return fault(fmt::format("malformed labels {}", text));
      rest.remove_prefix(1);
    }
  }

  void check_escapes(std::string_view text, std::string_view allowed) {
    for (size_t at = text.find('\\'); at != std::string_view::npos; at = text.find('\\', at + 2)) {
      if (at + 1 == text.size() || !allowed.contains(text[at + 1]))
        return fault(fmt::format("invalid escape in {}", text));
    }
  }

  std::string family_;
  bool pending_type_ = false;  // no sample of family_ yet
  std::map<std::string, std::string> types_;
  std::optional<double> bucket_;  // the last one that was read
  bool bucket_is_last_ = false;   // that of everything
  std::map<std::string, double, std::less<>> samples_;
  std::vector<std::string> faults_;
};

}  // namespace culvert
