#include "hub/lists.h"

#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/hostname.h"
#include "base/text.h"
#include "base/values.h"
#include "hub/answers.h"
#include "hub/invite_record.h"
#include "hub/page.h"
#include "hub/query.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

json::object route_json(const route::Route& route) {
  json::array agents;
  for (const route::Target& target : route.targets) {
    if (const EndpointId* agent = target.agent()) agents.push_back(json::string(agent->to_string()));
  }
  json::object entry{{"match", route.match.text()},
                     {"tenant_id", route.tenant.to_string()},
                     {"suspended", route.is_suspended},
                     {"agents", std::move(agents)}};
  if (const route::HostPattern* hostname = route.match.hostname()) entry["hostname"] = hostname->text();
  if (route.tls_mode) entry["tls_mode"] = route::to_string(*route.tls_mode);
  if (!route.service.empty()) entry["service"] = route.service;
  return entry;
}

}  // namespace

const char* to_string(CertificateStatus::State state) {
  switch (state) {
    case CertificateStatus::State::kValid:
      return "valid";
    case CertificateStatus::State::kIssuing:
      return "issuing";
    case CertificateStatus::State::kFailing:
      return "failing";
    case CertificateStatus::State::kExpired:
      return "expired";
    case CertificateStatus::State::kUnused:
      return "unused";
  }
  return "unknown";
}

json::object refused_entry(const State& state, const EndpointId& agent,
                           const RefusedServices::OfAgent& declared,
                           const RefusedServices::Refused& refused) {
  json::object entry{{"agent_id", agent.to_string()},
                     {"invite_id", invite_key(declared.invite)},
                     {"wanted", refused.wanted},
                     {"reason", refused.reason},
                     {"since", declared.since.time_since_epoch().count()}};
  if (!refused.service.empty()) entry["service"] = refused.service;
  if (auto invite = state.invites.find(declared.invite); invite && *invite != nullptr) {
    entry["invite_name"] = (*invite)->name;
    entry["tenant_id"] = (*invite)->tenant.to_string();
  }
  return entry;
}

http::Response Lists::agents(const http::Exchange& exchange) const {
  auto query = Query::read(exchange, {"after"});
  if (!query) return bad_query(query.error());
  auto next = state_.leases.all().begin();
  if (const auto text = query->text("after")) {
    auto after = PublicKey::parse(*text);
    if (!after) return bad_query(after.error());
    next = state_.leases.all().upper_bound(*after);
  }
  const TimePoint now = exchange.now;
  const auto seconds_from_now = [&](TimePoint when) {
    return std::chrono::duration_cast<std::chrono::seconds>(when - now).count();
  };
  Page page;
  for (; next != state_.leases.all().end() && !page.is_full(); ++next) {
    const auto& [agent, lease] = *next;
    json::array services;
    for (const auto& service : lease.services) {
      services.push_back(json::object{{"hostname", service.hostname.text()},
                                      {"tls_mode", route::to_string(service.tls_mode)}});
    }
    json::array ports;
    for (const auto& port : lease.ports) {
      json::object declared{{"protocol", route::to_string(port.protocol)},
                            {"name", port.name},
                            {"listen_port", port.listen_port}};
      if (port.more_ports > 0) declared["last_port"] = port.ports().last();
      ports.push_back(std::move(declared));
    }
    json::object entry{{"agent_id", agent.to_string()},
                       {"invite_id", invite_key(lease.invite)},
                       {"is_heard", state_.leases.lives(agent, now)},
                       {"lease_ends_in_secs", seconds_from_now(std::max(lease.ends_at, now))},
                       {"services", std::move(services)},
                       {"ports", std::move(ports)},
                       {"exclusive", lease.is_exclusive}};
    if (auto invite = state_.invites.find(lease.invite); invite && *invite != nullptr) {
      entry["invite_name"] = (*invite)->name;
      entry["tenant_id"] = (*invite)->tenant.to_string();
    }
    page.add(json::serialize(entry), agent.to_string());
  }
  return page.answer("agents");
}

http::Response Lists::route(const http::Exchange& exchange) const {
  const auto wanted = route::Match::parse(exchange.rest);
  if (!wanted) return error_response(400, "invalid_request", wanted.error().message);
  std::optional<route::Route> found = state_.leases.route_named(wanted->text());
  if (!found && wanted->hostname() != nullptr && !wanted->hostname()->is_wildcard()) {
    const std::string text = wanted->text();
    found = state_.leases.route_named("*" + text.substr(std::min(text.find('.'), text.size())));
  }
  if (found) return json_response(200, json::serialize(route_json(*found)));
  return error_response(
      404, "not_found",
      fmt::format("no route serves {}; an agent has to declare it, within what its invite grants",
                  culvert::quoted(wanted->text())));
}

http::Response Lists::certificates(const http::Exchange& exchange) const {
  auto query = Query::read(exchange, {"after"});
  if (!query) return bad_query(query.error());
  const std::string after(query->text("after").value_or(""));
  if (!after.empty() && !is_hostname_or_wildcard(after))
    return error_response(400, "invalid_request", "after=... is not a hostname");
  Page page;
  if (!config_.certificates.list) return page.answer("certificates");
  const UnixTime now = config_.wall_clock();
  const auto seconds_or_null = [](const auto& value) {
    return value ? json::value(*value) : json::value(nullptr);
  };
  const auto time_of = [](const std::optional<UnixTime>& time) {
    return time ? std::optional<int64_t>(time->time_since_epoch().count()) : std::nullopt;
  };
  for (const CertificateStatus& each : config_.certificates.list(after, Page::kMaxEntries + 1)) {
    json::object entry{{"name", each.name},
                       {"state", to_string(each.state)},
                       {"ca", each.directory},
                       {"issuer", each.issuer},
                       {"issued_at", seconds_or_null(time_of(each.issued_at))},
                       {"expires_at", seconds_or_null(time_of(each.expires_at))},
                       {"age_secs", nullptr},
                       {"expires_in_secs", nullptr},
                       {"reason", each.reason},
                       {"next_try_at", seconds_or_null(time_of(each.next_try_at))}};
    if (each.issued_at) entry["age_secs"] = (now - *each.issued_at).count();
    if (each.expires_at) entry["expires_in_secs"] = (*each.expires_at - now).count();
    if (!page.add(json::serialize(entry), each.name)) break;
  }
  return page.answer("certificates");
}

http::Response Lists::claims(const http::Exchange& exchange) const {
  auto query = Query::read(exchange, {"after"});
  if (!query) return bad_query(query.error());
  const auto& all = state_.claims.all();
  auto next = all.begin();
  if (const auto text = query->text("after")) {
    const auto after = route::Match::parse(*text);
    if (!after || after->port() == nullptr)
      return error_response(400, "invalid_request", "after=... is not a port like tcp/2222");
    next = all.upper_bound(*after->port());
  }
  Page page;
  for (; next != all.end() && !page.is_full(); ++next) {
    const auto& [port, claim] = *next;
    json::object entry{
        {"port", port.text()},
        {"service", claim.service},
        {"invite_id", invite_key(claim.invite)},
        {"idle_since", claim.idle_since ? json::value(claim.idle_since->time_since_epoch().count())
                                        : json::value(nullptr)}};
    if (auto invite = state_.invites.find(claim.invite); invite && *invite != nullptr) {
      entry["invite_name"] = (*invite)->name;
      entry["tenant_id"] = (*invite)->tenant.to_string();
    }
    page.add(json::serialize(entry), port.text());
  }
  return page.answer("claims");
}

http::Response Lists::refused_services(const http::Exchange& exchange) const {
  auto query = Query::read(exchange, {"after"});
  if (!query) return bad_query(query.error());
  auto next = refused_.all().begin();
  size_t skipped = 0;  // of the first agent
  if (const auto text = query->text("after")) {
    const size_t slash = text->find('/');
    const auto agent = PublicKey::parse(text->substr(0, slash));
    const auto number =
        parse_number(slash == text->npos ? "" : text->substr(slash + 1), 1, RefusedServices::kMaxPerAgent);
    if (!agent || !number)
      return error_response(400, "invalid_request", "after=... is not an agent and a number like AGENT/3");
    next = refused_.all().lower_bound(*agent);
    if (next != refused_.all().end() && next->first == *agent) skipped = *number;
  }
  Page page;
  for (; next != refused_.all().end() && !page.is_full(); ++next, skipped = 0) {
    const auto& [agent, declared] = *next;
    for (size_t i = skipped; i < declared.refused.size(); ++i) {
      const json::object entry = refused_entry(state_, agent, declared, declared.refused[i]);
      if (!page.add(json::serialize(entry), fmt::format("{}/{}", agent.to_string(), i + 1))) break;
    }
  }
  return page.answer("refused_services");
}

http::Response Lists::routes(const http::Exchange& exchange) const {
  auto query = Query::read(exchange, {"after"});
  if (!query) return bad_query(query.error());
  std::string after;
  if (const auto text = query->text("after")) {
    const auto match = route::Match::parse(*text);
    if (!match) return bad_query({ErrorCode::kInvalid, "after=...: " + match.error().message});
    after = match->text();
  }
  Page page;
  for (const route::Route& each : state_.leases.routes_after(after, Page::kMaxEntries + 1)) {
    if (!page.add(json::serialize(route_json(each)), each.match.text())) break;
  }
  return page.answer("routes");
}

}  // namespace culvert::hub
