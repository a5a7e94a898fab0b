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
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "{" : ",", name, escape(value, true));
  }
  if (!out.empty()) out += '}';
  return out;
}

}  // namespace

const char* Metrics::to_string(Type type) { return type == Type::kCounter ? "counter" : "gauge"; }

void Metrics::counter(std::string_view name, std::string_view help, uint64_t value, Labels labels) {
  CHECK(name.ends_with("_total"));
  add(Type::kCounter, name, help, static_cast<double>(value), labels);
}

void Metrics::gauge(std::string_view name, std::string_view help, double value, Labels labels) {
  CHECK(!name.ends_with("_total"));
  add(Type::kGauge, name, help, value, labels);
}

void Metrics::counters(std::string_view name, std::string_view help, std::string_view label, Values values) {
  for (const auto& [text, value] : values) counter(name, help, value, {{label, text}});
}

void Metrics::gauges(std::string_view name, std::string_view help, std::string_view label, Values values) {
  for (const auto& [text, value] : values) gauge(name, help, static_cast<double>(value), {{label, text}});
}

void Metrics::add(Type type, std::string_view name, std::string_view help, double value, Labels labels) {
  Family& place = family(type, name, help);
  place.samples[print(labels)] += value;
  for (const auto& [label, text] : labels) place.labels[std::string(label)].emplace(text);
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
    for (const auto& [label, values] : theirs.labels) ours.labels[label].insert(values.begin(), values.end());
  }
}

std::string Metrics::to_text() const {
  std::string out;
  for (const auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, escape(family.help, false), name,
                       to_string(family.type));
    // {} prints the shortest text that reads back as the same number.
    for (const auto& [labels, value] : family.samples) out += fmt::format("{}{} {}\n", name, labels, value);
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
