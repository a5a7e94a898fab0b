#include "hub/lists.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/text.h"
#include "base/whole_number.h"
#include "hub/answers.h"
#include "hub/invite_record.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

// The value of the only parameter that a list takes; empty: there is no query. kInvalid: another query.
Result<std::string_view> query_of(const http::Exchange& exchange, std::string_view parameter) {
  const std::string_view target = exchange.request.target;
  const size_t mark = target.find('?');
  if (mark == std::string_view::npos) return std::string_view();
  std::string_view query = target.substr(mark + 1);
  if (!query.starts_with(parameter) || query.size() <= parameter.size() + 1 || query[parameter.size()] != '=')
    return fail(ErrorCode::kInvalid, "the only query here is {}=...", parameter);
  query.remove_prefix(parameter.size() + 1);
  return query;
}

http::Response bad_query(const Error& error) { return error_response(400, "invalid_request", error.message); }

http::Response page(std::string_view member, json::array entries, std::optional<json::value> next) {
  json::object body{{"status", "ok"}};
  if (next) body["next"] = std::move(*next);
  body[json::string_view(member.data(), member.size())] = std::move(entries);
  return json_response(200, json::serialize(body));
}

// Audit entries hold JSON as text.
json::value parsed(const std::string& text) {
  std::error_code ec;
  json::value value = json::parse(text, ec);
  return ec ? json::value(nullptr) : value;
}

}  // namespace

http::Response Lists::agents(const http::Exchange& exchange) const {
  auto query = query_of(exchange, "after");
  if (!query) return bad_query(query.error());
  auto next = state_.leases.all().begin();
  if (!query->empty()) {
    auto after = PublicKey::parse(*query);
    if (!after) return bad_query(after.error());
    next = state_.leases.all().upper_bound(*after);
  }
  const TimePoint now = exchange.now;
  const auto seconds_from_now = [&](TimePoint when) {
    return std::chrono::duration_cast<std::chrono::seconds>(when - now).count();
  };
  json::array agents;
  for (; next != state_.leases.all().end() && agents.size() < kPage; ++next) {
    const auto& [agent, lease] = *next;
    json::array services;
    for (const auto& service : lease.services) {
      services.push_back(json::object{{"hostname", service.hostname.text()},
                                      {"tls_mode", route::to_string(service.tls_mode)}});
    }
    json::object entry{{"agent_id", agent.to_string()},
                       {"invite_id", invite_key(lease.invite)},
                       {"is_heard", state_.leases.lives(agent, now)},
                       {"lease_ends_in_secs", seconds_from_now(lease.ends_at)},
                       {"services", std::move(services)}};
    if (auto invite = state_.invites.find(lease.invite); invite && *invite != nullptr) {
      entry["invite_name"] = (*invite)->name;
      entry["tenant_id"] = (*invite)->tenant.to_string();
    }
    agents.push_back(std::move(entry));
  }
  std::optional<json::value> more;
  if (next != state_.leases.all().end()) more = json::value(std::prev(next)->first.to_string());
  return page("agents", std::move(agents), std::move(more));
}

http::Response Lists::routes(const http::Exchange& exchange) const {
  auto query = query_of(exchange, "after");
  if (!query) return bad_query(query.error());
  std::vector<route::Route> found = state_.leases.routes_after(*query, kPage + 1);
  const bool has_more = found.size() > kPage;
  if (has_more) found.pop_back();
  json::array routes;
  for (const route::Route& each : found) {
    json::array agents;
    for (const route::Target& target : each.targets) agents.push_back(json::string(target.agent.to_string()));
    routes.push_back(json::object{{"hostname", each.match.text()},
                                  {"tls_mode", route::to_string(each.tls_mode)},
                                  {"tenant_id", each.tenant.to_string()},
                                  {"suspended", each.is_suspended},
                                  {"agents", std::move(agents)}});
  }
  std::optional<json::value> more;
  if (has_more) more = json::value(found.back().match.text());
  return page("routes", std::move(routes), std::move(more));
}

net::Task<http::Response> Lists::audit(const http::Exchange& exchange) {
  auto query = query_of(exchange, "after");
  if (!query) co_return bad_query(query.error());
  std::optional<uint64_t> before;
  if (!query->empty()) {
    before = whole_number<uint64_t>(*query);
    if (!before) co_return error_response(400, "invalid_request", "after=... is not a whole number");
  }
  auto read = co_await ledger_.audit(before, kPage + 1);
  if (!read) co_return failures_.answer(read.error(), exchange.now);
  const bool has_more = read->size() > kPage;
  if (has_more) read->pop_back();
  json::array entries;
  for (const AuditEntry& each : *read) {
    entries.push_back(json::object{{"sequence", each.sequence},
                                   {"at", each.at.time_since_epoch().count()},
                                   {"actor", each.actor},
                                   {"action", each.action},
                                   {"subject", each.subject},
                                   {"before", parsed(each.before)},
                                   {"after", parsed(each.after)}});
  }
  std::optional<json::value> more;
  if (has_more) more = json::value(std::to_string(read->back().sequence));
  co_return page("entries", std::move(entries), std::move(more));
}

}  // namespace culvert::hub
