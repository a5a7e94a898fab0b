#include "hub/status_handler.h"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <iterator>

#include "base/json.h"
#include "base/log.h"
#include "base/version.h"
#include "hub/answers.h"
#include "hub/invite_record.h"
#include "hub/lists.h"
#include "hub/traffic_handler.h"
#include "hubapi/declaration.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

// A line for each; the log has all.
constexpr size_t kMaxNamed = 10;

json::array soonest_of(const CertificateTotals& certificates, UnixTime now) {
  json::array out;
  for (const auto& [at, name] : certificates.soonest) {
    out.push_back(json::object{{"name", name},
                               {"expires_at", at.time_since_epoch().count()},
                               {"expires_in_secs", (at - now).count()}});
  }
  return out;
}

json::array first_refused(const State& state, const RefusedServices& all) {
  json::array out;
  for (const auto& [agent, declared] : all.all()) {
    for (const RefusedServices::Refused& refused : declared.refused) {
      if (out.size() == kMaxNamed) return out;
      out.push_back(refused_entry(state, agent, declared, refused));
    }
  }
  return out;
}

}  // namespace

StatusHandler::StatusHandler(const Config& config, const State& state, Ledger& ledger,
                             const RefusedServices& refused)
    : config_(config), state_(state), ledger_(ledger), refused_(refused), started_at_(config.wall_clock()) {}

// Neither the reason nor a path: these are for the log and for operators.
std::vector<std::string> StatusHandler::faults(const State& state, const Ledger& ledger) {
  std::vector<std::string> out;
  if (ledger.is_failing()) out.emplace_back("the hub's database refuses changes; agents are served");
  if (const auto other = state.leases.hubs().other_key()) {
    out.push_back(fmt::format(
        "another hub of this database has another key, {}: agents and edges refuse one of the two; "
        "stop it, or give both the same node.key, operator.key, ca.key and ca.pem",
        *other));
  }
  if (const size_t count = state.invites.unstored_revocations().size(); count > 0) {
    out.push_back(
        fmt::format("{} revocations are in force and not stored; a restart would undo them", count));
  }
  if (const size_t count = state.invites.damaged().size(); count > 0) {
    out.push_back(fmt::format(
        "{} invites are damaged in the hub's database; no hostname is granted until they are revoked",
        count));
  }
  return out;
}

// 200 in any case: a hub whose database is away still serves agents and edges, and nobody should take it out
// of their turns or restart it for that.
http::Response StatusHandler::health() const {
  const std::vector<std::string> found = faults(state_, ledger_);
  json::object body{{"status", found.empty() ? "ok" : "degraded"},
                    {"database", ledger_.is_failing() ? "failing" : "ok"},
                    {"version", kVersion},
                    {"hub_key", config_.key.public_key().to_string()},
                    {"protocol_version", hubapi::kDeclarationVersion},
                    {"faults", json_array(found)}};
  return json_response(200, json::serialize(body));
}

std::vector<std::string> StatusHandler::warnings() const {
  std::vector<std::string> out = faults(state_, ledger_);
  if (refused_.count() > 0) {
    out.push_back(
        fmt::format("refused services of agents: {}; `culvert refused list` says why", refused_.count()));
  }
  if (const auto& failure = ledger_.failure()) {
    out.push_back(fmt::format("the database said: {}", failure->error.message));
  } else if (const auto fault = ledger_.fault()) {
    out.push_back(fmt::format("the database said: {}", *fault));
  }
  if (config_.edge_warnings) std::ranges::copy(config_.edge_warnings(), std::back_inserter(out));
  size_t named = 0;
  for (const InviteId& id : state_.invites.damaged()) {
    if (++named > kMaxNamed) break;
    out.push_back(fmt::format("the invite {} is damaged; revoke it", invite_key(id)));
  }
  return out;
}

net::Task<http::Response> StatusHandler::reload(const http::Exchange& exchange) {
  if (!config_.reload) {
    co_return error_response(404, "not_found",
                             "this hub has no configuration to read again; restart it with another one");
  }
  const auto report = config_.reload();
  if (!report) {
    co_return error_response(422, "invalid_config",
                             fmt::format("{}; nothing was changed", report.error().message));
  }
  co_await note(*report, exchange.user);
  co_return json_response(
      200, json::serialize(json::object{{"status", "ok"},
                                        {"changed", json_array(report->changed)},
                                        {"needs_restart", json_array(report->needs_restart)}}));
}

net::Task<> StatusHandler::note(ReloadReport report, std::string actor) {
  const std::string what = json::serialize(json::object{{"changed", json_array(report.changed)},
                                                        {"needs_restart", json_array(report.needs_restart)}});
  // It is in force, whatever the database says.
  auto noted =
      co_await ledger_.commit({.touches = {}, .judge = [&]() -> Result<Batch> {
                                 return Batch{.records = {},
                                              .audit = {{.at = config_.wall_clock(),
                                                         .actor = actor,
                                                         .action = "config.reload",
                                                         .subject = config_.key.public_key().to_string(),
                                                         .after = what}}};
                               }});
  if (!noted)
    log_warn("audit_entry_lost", "action=config.reload reason={}", culvert::quoted(noted.error().message));
}

http::Response StatusHandler::status() const {
  const UnixTime now = config_.wall_clock();
  size_t live = 0, suspended = 0;
  for (const auto& [sequence, invite] : state_.invites.all()) {
    if (invite.revoked || invite.expired(now)) continue;
    ++live;
    if (invite.suspended) ++suspended;
  }
  const auto& failure = ledger_.failure();
  const CertificateTotals certificates =
      config_.certificates.totals ? config_.certificates.totals() : CertificateTotals{};
  json::object body{{"status", faults(state_, ledger_).empty() ? "ok" : "degraded"},
                    {"version", kVersion},
                    {"hub_key", config_.key.public_key().to_string()},
                    {"started_at", started_at_.time_since_epoch().count()},
                    {"urls", json_array(config_.public_urls)},
                    {"tenants", live},
                    {"suspended_tenants", suspended},
                    {"agents", state_.leases.size()},
                    {"routes", state_.leases.route_count()},
                    {"refused_services", refused_.count()},
                    {"edges", config_.edges.size() + state_.edges.dialled().size()},
                    {"certificates", certificates.names},
                    {"failing_certificates", certificates.failing},
                    {"first_expiry", nullptr},
                    {"soonest_certificates", soonest_of(certificates, now)},
                    {"refused", first_refused(state_, refused_)},
                    {"operator_keys", state_.operator_keys.all().size()},
                    {"database", ledger_.is_failing() ? "failing" : "ok"},
                    {"revision", ledger_.revision()},
                    {"warnings", json_array(warnings())}};
  if (!certificates.soonest.empty())
    body["first_expiry"] = certificates.soonest.front().at.time_since_epoch().count();
  add_live_status(body, config_.live ? config_.live() : LiveStatus(), tenant_names(state_));
  if (failure) body["database_failing_since"] = failure->since.time_since_epoch().count();
  return json_response(200, json::serialize(body));
}

}  // namespace culvert::hub
