#include "cli/reload.h"

#include <fmt/ranges.h>

#include "base/log.h"

namespace culvert::cli {
namespace {

std::string shown(const Setting& setting, const Settings::Given* given) {
  if (given != nullptr) return given->value;
  return setting.default_text.empty() ? "not set" : setting.default_text;
}

}  // namespace

ReloadReport take_changes(Settings& running, const Settings& wanted) {
  ReloadReport report;
  for (const Setting& setting : wanted.declared()) {
    const Settings::Given* before = running.given(setting.flag);
    const Settings::Given* after = wanted.given(setting.flag);
    // One that is given as the default is does not differ from it.
    const bool is_same = before != nullptr && after != nullptr
                             ? before->fingerprint == after->fingerprint
                             : shown(setting, before) == shown(setting, after);
    if (is_same) continue;
    const std::string line = setting.is_secret ? fmt::format("{}: another value", dotted_name(setting))
                                               : fmt::format("{}: {}, was {}", dotted_name(setting),
                                                             shown(setting, after), shown(setting, before));
    (setting.may_change ? report.changed : report.needs_restart).push_back(line);
    if (setting.may_change) running.take(setting.flag, wanted);
  }
  return report;
}

Error join_problems(const Settings& wanted, const Error& first) {
  if (wanted.problems().empty()) return first;
  std::vector<std::string> messages;
  for (const Error& problem : wanted.problems()) messages.push_back(problem.message);
  return {ErrorCode::kInvalid, fmt::format("{}", fmt::join(messages, "; "))};
}

void log_reload(const Result<ReloadReport>& outcome) {
  if (!outcome) {
    log_error("config_refused", "reason={} meaning={}", culvert::quoted(outcome.error().message),
              culvert::quoted("nothing was changed; the former settings are in force"));
    return;
  }
  log_info("config_reloaded", "changed={} needs_restart={}",
           culvert::quoted(fmt::format("{}", fmt::join(outcome->changed, "; "))),
           culvert::quoted(fmt::format("{}", fmt::join(outcome->needs_restart, "; "))));
}

}  // namespace culvert::cli
