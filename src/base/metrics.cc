#include "base/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/check.h"

namespace culvert {
namespace {

bool is_name(std::string_view name) {
  return !name.empty() && !is_digit(name.front()) &&
         std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '_'; });
}

// Prometheus escapes quotes in label values only.
std::string escape(std::string_view text, bool is_label) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\' || (is_label && c == '"')) {
      out += {'\\', c};
    } else {
      out += c;
    }
  }
  return out;
}

std::string print(Metrics::Labels labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    CHECK(is_name(name));
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", name, escape(value, true));
  }
  return out;
}

double seconds_of(Duration time) { return std::chrono::duration<double>(time).count(); }

// {} prints the shortest text that reads back as the same number.
std::string sample(std::string_view name, std::string_view labels, double value) {
  if (labels.empty()) return fmt::format("{} {}\n", name, value);
  return fmt::format("{}{{{}}} {}\n", name, labels, value);
}

// Each bucket counts those of the ones before it as well.
std::string samples(std::string_view name, std::string_view labels, const DurationHistogram& histogram) {
  std::string out;
  uint64_t count = 0;
  for (size_t i = 0; i < histogram.buckets().size(); ++i) {
    count += histogram.buckets()[i];
    const bool is_last = i == DurationHistogram::kBounds.size();
    const std::string bound = is_last ? "+Inf" : fmt::format("{}", seconds_of(DurationHistogram::kBounds[i]));
    out += sample(fmt::format("{}_bucket", name),
                  fmt::format("{}{}le=\"{}\"", labels, labels.empty() ? "" : ",", bound),
                  static_cast<double>(count));
  }
  out += sample(fmt::format("{}_sum", name), labels, seconds_of(histogram.sum()));
  out += sample(fmt::format("{}_count", name), labels, static_cast<double>(count));
  return out;
}

}  // namespace

void DurationHistogram::count(Duration took) {
  const auto bucket = std::ranges::lower_bound(kBounds, took);
  ++buckets_[static_cast<size_t>(bucket - kBounds.begin())];
  sum_ += took;
}

void DurationHistogram::add(const DurationHistogram& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  sum_ += other.sum_;
}

const char* Metrics::to_string(Type type) {
  switch (type) {
    case Type::kCounter:
      return "counter";
    case Type::kGauge:
      return "gauge";
    case Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

void Metrics::counter(std::string_view name, std::string_view help, uint64_t value, Labels labels) {
  CHECK(name.ends_with("_total"));
  add(Type::kCounter, name, help, static_cast<double>(value), labels);
}

void Metrics::gauge(std::string_view name, std::string_view help, double value, Labels labels) {
  CHECK(!name.ends_with("_total"));
  add(Type::kGauge, name, help, value, labels);
}

void Metrics::histogram(std::string_view name, std::string_view help, const DurationHistogram& value,
                        Labels labels) {
  CHECK(name.ends_with("_seconds"));
  family(Type::kHistogram, name, help, labels).histograms[print(labels)].add(value);
}

void Metrics::counters(std::string_view name, std::string_view help, std::string_view label, Values values) {
  for (const auto& [text, value] : values) counter(name, help, value, {{label, text}});
}

void Metrics::gauges(std::string_view name, std::string_view help, std::string_view label, Values values) {
  for (const auto& [text, value] : values) gauge(name, help, static_cast<double>(value), {{label, text}});
}

void Metrics::add(Type type, std::string_view name, std::string_view help, double value, Labels labels) {
  family(type, name, help, labels).samples[print(labels)] += value;
}

Metrics::Family& Metrics::family(Type type, std::string_view name, std::string_view help, Labels labels) {
  Family& place = family(type, name, help);
  for (const auto& [label, text] : labels) place.labels[std::string(label)].emplace(text);
  return place;
}

Metrics::Family& Metrics::family(Type type, std::string_view name, std::string_view help) {
  CHECK(is_name(name) && !help.empty());
  auto place = families_.find(name);
  if (place == families_.end()) place = families_.emplace(name, Family{type, std::string(help)}).first;
  CHECK(place->second.type == type);
  return place->second;
}

void Metrics::add(const Metrics& other) {
  for (const auto& [name, theirs] : other.families_) {
    Family& ours = family(theirs.type, name, theirs.help);
    for (const auto& [labels, value] : theirs.samples) ours.samples[labels] += value;
    for (const auto& [labels, value] : theirs.histograms) ours.histograms[labels].add(value);
    for (const auto& [label, values] : theirs.labels) ours.labels[label].insert(values.begin(), values.end());
  }
}

std::string Metrics::to_text() const {
  std::string out;
  for (const auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, escape(family.help, false), name,
                       to_string(family.type));
    for (const auto& [labels, value] : family.samples) out += sample(name, labels, value);
    for (const auto& [labels, value] : family.histograms) out += samples(name, labels, value);
  }
  return out;
}

std::vector<Metrics::Description> Metrics::describe() const {
  std::vector<Description> out;
  for (const auto& [name, family] : families_)
    out.push_back({name, to_string(family.type), family.help, family.labels});
  return out;
}

}  // namespace culvert
