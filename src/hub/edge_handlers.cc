#include "hub/edge_handlers.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/answers.h"
#include "hub/names.h"
#include "hub/page.h"
#include "hub/query.h"
#include "hubapi/edge_certificates.h"
#include "hubapi/pet_name.h"
#include "hubapi/token.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

constexpr size_t kMaxRegion = 64;

struct EdgeRequest {
  std::optional<std::string> name;
  std::optional<std::string> region;
};

std::string no_edge_text(std::string_view word) {
  return fmt::format("no edge has the id or the name {}; `culvert edge list` shows those that there are",
                     culvert::quoted(word));
}

Result<EdgeRequest> parse_request(std::string_view text) {
  constexpr std::string_view kWhat = "the body";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  if (auto known = refuse_unknown_members(kWhat, *body, {"name", "region"}); !known)
    return std::unexpected(known.error());
  JsonReader reader(kWhat, *body);
  EdgeRequest wanted;
  if (reader.has("name")) wanted.name = reader.text("name");
  if (reader.has("region")) wanted.region = reader.text("region");
  if (reader.error()) return std::unexpected(*reader.error());
  if (wanted.name && (!is_plain_name(*wanted.name, Edges::kMaxNameLength) || *wanted.name == "self")) {
    return fail(ErrorCode::kInvalid, "\"name\" is not {}, or is self",
                plain_name_rule(Edges::kMaxNameLength));
  }
  // An edge is found by its name or its id.
  if (wanted.name && PublicKey::parse(*wanted.name))
    return fail(ErrorCode::kInvalid, "\"name\" is a key, and could be taken for the id of another edge");
  if (wanted.region && !wanted.region->empty() && !is_plain_name(*wanted.region, kMaxRegion))
    return fail(ErrorCode::kInvalid, "\"region\" is not {}", plain_name_rule(kMaxRegion));
  return wanted;
}

const char* state_of(const Edge& edge, bool is_connected) {
  if (edge.announced && edge.announced->is_leaving) return "left";
  if (is_connected) return "connected";
  return edge.announced ? "away" : "never seen";
}

}  // namespace

const Edge* EdgeHandlers::find(std::string_view text) const {
  if (const Edge* named = edges_.find_name(text)) return named;
  const auto id = PublicKey::parse(text);
  return id ? edges_.find(*id) : nullptr;
}

std::string EdgeHandlers::describe(const Edge& edge, TimePoint now) const {
  const EdgeSessions::State state = sessions_.state_of(edge.id);
  json::object body = json::parse(edge_json(edge)).as_object();
  body["state"] = state_of(edge, state.is_connected);
  body["agents"] = state.agents;
  if (const auto other = runs_.other_place(edge.id, now)) body["token_also_used_at"] = *other;
  return json::serialize(body);
}

http::Response EdgeHandlers::refuse(const Error& error, TimePoint now) {
  switch (error.code) {
    case ErrorCode::kConflict:
      return error_response(409, "name_conflict", error.message);
    case ErrorCode::kLimit:
      return error_response(409, "edge_limit", error.message);
    case ErrorCode::kNotFound:
      return error_response(404, "not_found", error.message);
    default:
      return failures_.answer(error, now);
  }
}

net::Task<http::Response> EdgeHandlers::create(const http::Exchange& exchange) {
  auto wanted = parse_request(exchange.request.body);
  if (!wanted) co_return error_response(400, "invalid_request", wanted.error().message);
  const SecretKey key = SecretKey::generate(random_);
  const Edge edge{.id = key.public_key(),
                  .name = wanted->name ? *wanted->name : hubapi::pet_name(random_),
                  .region = wanted->region.value_or(""),
                  .created_at = config_.wall_clock()};
  auto added =
      co_await ledger_.commit({.touches = {std::string(Edges::kKind)}, .judge = [&]() -> Result<Batch> {
                                 auto record = edges_.add(edge);
                                 if (!record) return std::unexpected(record.error());
                                 return Batch{.records = {std::move(*record)},
                                              .audit = {{.at = edge.created_at,
                                                         .actor = exchange.user,
                                                         .action = "edge.create",
                                                         .subject = edge.id.to_string(),
                                                         .after = edge_json(edge)}}};
                               }});
  if (!added) co_return refuse(added.error(), exchange.now);
  log_info("edge_created", "edge={} name={} by={}", edge.id.short_text(), culvert::quoted(edge.name),
           culvert::quoted(exchange.user));
  const hubapi::EdgeToken token{config_.public_urls, config_.key.public_key(), key};
  co_return json_response(
      200, with_secret("token", SecretString::take(token.encode()), describe(edge, exchange.now)));
}

http::Response EdgeHandlers::list(const http::Exchange& exchange) const {
  auto query = Query::read(exchange, {"after"});
  if (!query) return bad_query(query.error());
  auto next = edges_.all().begin();
  if (const auto text = query->text("after")) {
    const auto after = PublicKey::parse(*text);
    if (!after) return bad_query({ErrorCode::kInvalid, "after=... is not the id of an edge"});
    next = edges_.all().upper_bound(*after);
  }
  Page page;
  for (; next != edges_.all().end() && !page.is_full(); ++next)
    page.add(describe(next->second, exchange.now), next->first.to_string());
  return page.answer("edges");
}

http::Response EdgeHandlers::show(const http::Exchange& exchange) const {
  const Edge* edge = find(exchange.rest);
  if (edge == nullptr) return error_response(404, "not_found", no_edge_text(exchange.rest));
  return json_response(200, describe(*edge, exchange.now));
}

net::Task<http::Response> EdgeHandlers::change(const http::Exchange& exchange) {
  auto wanted = parse_request(exchange.request.body);
  if (!wanted) co_return error_response(400, "invalid_request", wanted.error().message);
  if (!wanted->name && !wanted->region) {
    co_return error_response(400, "invalid_request",
                             "the body has no member; name what is to be changed: name, region");
  }
  const Edge* named = find(exchange.rest);
  if (named == nullptr) co_return error_response(404, "not_found", no_edge_text(exchange.rest));
  const EndpointId id = named->id;
  const UnixTime wall = config_.wall_clock();
  auto changed =
      co_await ledger_.commit({.touches = {std::string(Edges::kKind)}, .judge = [&]() -> Result<Batch> {
                                 const Edge* old = edges_.find(id);
                                 if (old == nullptr) return std::unexpected(edges_.remove(id).error());
                                 Edge edge = *old;
                                 if (wanted->name) edge.name = *wanted->name;
                                 if (wanted->region) edge.region = *wanted->region;
                                 if (edge_json(edge) == edge_json(*old)) return Batch{};
                                 auto record = edges_.change(edge);
                                 if (!record) return std::unexpected(record.error());
                                 return Batch{.records = {std::move(*record)},
                                              .audit = {{.at = wall,
                                                         .actor = exchange.user,
                                                         .action = "edge.change",
                                                         .subject = id.to_string(),
                                                         .before = edge_json(*old),
                                                         .after = edge_json(edge)}}};
                               }});
  if (!changed) co_return refuse(changed.error(), exchange.now);
  const Edge* edge = edges_.find(id);
  if (edge == nullptr) co_return error_response(404, "not_found", "the edge was revoked meanwhile");
  co_return json_response(200, describe(*edge, exchange.now));
}

net::Task<http::Response> EdgeHandlers::revoke(const http::Exchange& exchange) {
  const Edge* named = find(exchange.rest);
  if (named == nullptr) co_return error_response(404, "not_found", no_edge_text(exchange.rest));
  const EndpointId id = named->id;
  auto removed =
      co_await ledger_.commit({.touches = {std::string(Edges::kKind)}, .judge = [&]() -> Result<Batch> {
                                 auto record = edges_.remove(id);
                                 if (!record) return std::unexpected(record.error());
                                 return Batch{.records = {std::move(*record)},
                                              .audit = {{.at = config_.wall_clock(),
                                                         .actor = exchange.user,
                                                         .action = "edge.revoke",
                                                         .subject = id.to_string(),
                                                         .before = edge_json(*edges_.find(id))}}};
                               }});
  if (!removed) co_return refuse(removed.error(), exchange.now);
  runs_.forget(id);
  log_info("edge_revoked", "edge={} by={}", id.short_text(), culvert::quoted(exchange.user));
  co_return json_response(200, R"({"status":"revoked"})");
}

std::expected<EndpointId, http::Response> EdgeHandlers::authenticate(const http::Exchange& exchange) {
  const UnixTime wall = config_.wall_clock();
  const Edge* edge = nullptr;
  const auto refused = [&](std::string_view code, std::string_view message) {
    ++counters_.bad_signatures;
    if (edge == nullptr) limits_.count_refusal(exchange.client, exchange.now);
    if (log_.allow(exchange.now)) {
      log_warn("edge_refused", "client={} code={} reason={} request_id={}", exchange.client.to_string(), code,
               culvert::quoted(message), request_id(exchange));
    }
    return std::unexpected(error_response(401, code, message));
  };
  // Before a signature is verified, as for declarations: any host may ask. Who names an edge that there is is
  // heard, so that no other host behind its address keeps it from its hub.
  const auto claimed = PublicKey::parse(http::claimed_key(exchange.request, hubapi::kEdgeTag));
  const bool is_known = claimed && edges_.find(*claimed) != nullptr;
  if (!is_known && !limits_.allow_source(exchange.client, exchange.now))
    return std::unexpected(
        retry_response(429, "rate_limited", "too many refused requests from here; slow down"));
  if (!replays_.is_addressed(exchange.request)) {
    ++counters_.other_instance;
    return std::unexpected(sign_again_response(replays_));
  }
  auto signature = http::verify_request(exchange.request, hubapi::kEdgeTag, wall);
  if (!signature) return refused("invalid_signature", signature.error().message);
  edge = edges_.find(signature->key);
  if (edge == nullptr) {
    return refused(
        "unknown_edge",
        "this hub knows no such edge, its token was revoked; make another with `culvert edge-invite "
        "create`");
  }
  // Before the guard, which remembers what it admits.
  if (!limits_.allow_edge(edge->id, exchange.now))
    return std::unexpected(retry_response(429, "rate_limited", "too many requests of this edge; slow down"));
  if (auto admitted = replays_.admit(*signature, wall); !admitted) {
    if (admitted.error().code == ErrorCode::kLimit)
      return std::unexpected(error_response(503, "busy", admitted.error().message));
    return refused("replayed", admitted.error().message);
  }
  const std::string* run = exchange.request.headers.find(hubapi::kEdgeRunField);
  if (auto speaks = runs_.admit(edge->id, run ? std::string_view(*run) : "", exchange.client, exchange.now);
      !speaks) {
    if (conflict_log_.allow(exchange.now)) {
      log_error("edge_token_shared", "edge={} name={} client={} reason={}", edge->id.short_text(),
                culvert::quoted(edge->name), exchange.client.to_string(),
                culvert::quoted(speaks.error().message));
    }
    return std::unexpected(error_response(403, "edge_in_use", speaks.error().message));
  }
  return edge->id;
}

net::Task<http::Response> EdgeHandlers::announce(const http::Exchange& exchange) {
  auto id = authenticate(exchange);
  if (!id) co_return std::move(id.error());
  auto announcement = hubapi::decode_edge_announcement(exchange.request.body);
  if (!announcement) co_return error_response(400, "invalid_request", announcement.error().message);
  const Edge* known = edges_.find(*id);
  if (known == nullptr || known->announced != *announcement) {
    auto stored =
        co_await ledger_.commit({.touches = {std::string(Edges::kKind)}, .judge = [&]() -> Result<Batch> {
                                   const Edge* old = edges_.find(*id);
                                   if (old == nullptr) return std::unexpected(edges_.remove(*id).error());
                                   Edge edge = *old;
                                   edge.announced = *announcement;
                                   auto record = edges_.change(edge);
                                   if (!record) return std::unexpected(record.error());
                                   return Batch{.records = {std::move(*record)}, .audit = {}};
                                 }});
    if (!stored) co_return refuse(stored.error(), exchange.now);
  }
  if (announcement->is_leaving) runs_.forget(*id);  // another process with its token may speak at once
  const Edge* edge = edges_.find(*id);
  if (edge == nullptr) co_return refuse(edges_.remove(*id).error(), exchange.now);
  co_return json_response(200, encode(hubapi::EdgeWelcome{edge->name, edge->region}));
}

http::Response EdgeHandlers::report(const http::Exchange& exchange) {
  auto id = authenticate(exchange);
  if (!id) return std::move(id.error());
  auto report = hubapi::decode_tunnel_report(exchange.request.body);
  if (!report) return error_response(400, "invalid_request", report.error().message);
  auto taken = sessions_.report(*id, *report);
  if (!taken) return error_response(409, "unknown_session", taken.error().message);
  return json_response(200, R"({"status":"ok"})");
}

net::Task<http::Response> EdgeHandlers::certificates(const http::Exchange& exchange) {
  auto id = authenticate(exchange);
  if (!id) co_return std::move(id.error());
  auto request = hubapi::decode_certificate_request(exchange.request.body);
  if (!request) co_return error_response(400, "invalid_request", request.error().message);
  // It waits like one that streams.
  if (exchange.keep) exchange.keep();
  auto update = co_await certificate_feed_.next(*id, std::move(*request));
  // It may have been revoked while it waited.
  if (edges_.find(*id) == nullptr) co_return error_response(401, "unknown_edge", "the edge was revoked");
  if (update) co_return json_response(200, encode(*update).expose());
  co_return retry_response(503, "unavailable", "the hub ends, or the edge has asked once more; try again");
}

net::Task<> EdgeHandlers::follow(http::Exchange& exchange) {
  auto id = authenticate(exchange);
  std::optional<hubapi::HeldRoutes> held;
  std::optional<http::Response> refused;
  if (!id) refused = std::move(id.error());
  auto query = Query::read(exchange, {"have"});
  if (!refused && !query) refused = bad_query(query.error());
  if (!refused && query->text("have")) {
    auto decoded = hubapi::decode_held_routes(*query->text("have"));
    if (decoded) {
      held = *decoded;
    } else {
      refused = bad_query(decoded.error());
    }
  }
  if (refused) {
    auto sent = co_await exchange.respond(std::move(*refused));
    (void)sent;
    co_return;
  }
  if (exchange.keep) exchange.keep();
  co_await sessions_.stream(exchange, *id, held);
}

}  // namespace culvert::hub
