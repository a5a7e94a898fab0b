#include "hub/traffic_handler.h"

#include <boost/json/serialize.hpp>

#include "base/text.h"
#include "base/values.h"
#include "hub/answers.h"
#include "hub/page.h"
#include "hub/query.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

// "CONNECTIONS,BYTES,TENANT,NAME": a name may have commas.
std::string encode(const route::TrafficSum& sum) {
  return fmt::format("{},{},{},{}", sum.traffic.open, sum.traffic.bytes(), sum.tenant.to_string(), sum.name);
}

std::optional<route::TrafficPlace> decode_place(std::string_view text) {
  std::array<std::string_view, 3> parts;
  for (std::string_view& part : parts) {
    const size_t comma = text.find(',');
    if (comma == text.npos) return std::nullopt;
    part = text.substr(0, comma);
    text.remove_prefix(comma + 1);
  }
  const auto open = parse_number(parts[0], 0, INT64_MAX);
  const auto bytes = parse_number(parts[1], 0, INT64_MAX);
  if (!open || !bytes || !PublicKey::parse(parts[2])) return std::nullopt;
  return route::TrafficPlace{.traffic = {.open = *open, .bytes_in = *bytes},
                             .name = std::string(text),
                             .tenant = std::string(parts[2])};
}

}  // namespace

TenantNames tenant_names(const State& state) {
  return [&state](const PublicKey& tenant) {
    const Invite* invite = state.invites.find_tenant(tenant);
    return invite == nullptr ? std::string() : invite->name;
  };
}

http::Response TrafficHandler::list(const http::Exchange& exchange) const {
  auto query = Query::read(exchange, {"by", "sort", "limit", "after"});
  if (!query) return bad_query(query.error());
  const auto by = route::parse_traffic_by(query->text("by").value_or("route"));
  if (!by) return error_response(400, "invalid_request", "by=... is not route, tenant or agent");
  const auto order = route::parse_traffic_order(query->text("sort").value_or("connections"));
  if (!order) return error_response(400, "invalid_request", "sort=... is not connections, bytes or name");
  const auto limit = query->number("limit", Page::kMaxEntries);
  if (!limit) return bad_query(limit.error());
  if (*limit == 0u) return error_response(400, "invalid_request", "limit=...: expected 1 to 500");
  std::optional<route::TrafficPlace> place;
  if (const auto text = query->text("after")) {
    place = decode_place(*text);
    if (!place)
      return error_response(400, "invalid_request", "after=... is not the `next` of an answer of this list");
  }
  const route::TrafficSums sums = route::sum_traffic(
      config_.live ? config_.live().traffic : std::vector<route::TrafficRow>(), *by, *order);
  const size_t most = limit->value_or(Page::kMaxEntries);
  const TenantNames names = tenant_names(state_);
  Page page;
  size_t count = 0;
  std::string last;
  for (const route::TrafficSum& sum : sums.named) {
    if (place && !is_behind(*place, sum, *order)) continue;
    if (count++ == most) {
      page.go_on_behind(std::move(last));
      break;
    }
    last = encode(sum);
    if (!page.add(json::serialize(traffic_entry(sum, names)), last)) break;
  }
  const auto clock = std::chrono::duration_cast<std::chrono::milliseconds>(exchange.now.time_since_epoch());
  return page.answer("traffic", json::serialize(json::object{{"by", route::to_string(*by)},
                                                             {"sort", route::to_string(*order)},
                                                             {"clock_ms", clock.count()},
                                                             {"others", traffic_numbers(sums.others)},
                                                             {"total", traffic_numbers(sums.total)}}));
}

}  // namespace culvert::hub
