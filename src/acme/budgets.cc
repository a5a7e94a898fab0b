#include "acme/budgets.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/json.h"

namespace culvert::acme {
namespace {

namespace json = boost::json;

json::array encode_times(const std::vector<UnixTime>& times) {
  json::array out;
  for (const UnixTime time : times) out.push_back(time.time_since_epoch().count());
  return out;
}

bool read_times(const json::array& array, std::vector<UnixTime>& into) {
  for (const json::value& time : array) {
    if (!time.is_int64() || time.get_int64() < 0 || time.get_int64() > kMaxUnixSeconds) return false;
    into.emplace_back(std::chrono::seconds(time.get_int64()));
  }
  std::ranges::sort(into);
  return true;
}

}  // namespace

UnixTime Budgets::allowed_at(const Times* times, size_t running, const Budget& budget, UnixTime now) {
  if (budget.most == 0) return now + budget.span;
  // What runs may end in a certificate: asked again when it has.
  if (running >= budget.most) return now + std::chrono::minutes(1);
  const size_t most = budget.most - running;
  if (times == nullptr || times->size() < most) return now;
  // With `most` - 1 in the span one more fits.
  return std::max(now, (*times)[times->size() - most] + budget.span);
}

UnixTime Budgets::allowed_at(const Order& order, UnixTime now) const {
  const UnixTime by_all = allowed_at(&all_, 0, limits_.all, now);
  if (order.is_renewal) return by_all;
  const auto domain = domains_.find(order.domain);
  const auto running = running_.find(order.domain);
  const auto tenant = tenants_.find(order.tenant);
  const UnixTime by_domain = allowed_at(domain == domains_.end() ? nullptr : &domain->second,
                                        running == running_.end() ? 0 : running->second, limits_.domain, now);
  const UnixTime by_tenant =
      allowed_at(tenant == tenants_.end() ? nullptr : &tenant->second, 0, limits_.tenant, now);
  return std::max({by_all, by_domain, by_tenant});
}

void Budgets::begin(const Order& order, UnixTime now) {
  forget(now);
  all_.push_back(now);
  if (order.is_renewal) return;
  tenants_[order.tenant].push_back(now);
  ++running_[order.domain];
}

void Budgets::end(const Order& order, bool is_issued, UnixTime now) {
  if (order.is_renewal) return;
  const auto running = running_.find(order.domain);
  if (running != running_.end() && --running->second == 0) running_.erase(running);
  if (is_issued) domains_[order.domain].push_back(now);
}

// Drops what is older than its span, and what is in the future: the clock was set back.
void Budgets::forget(UnixTime now) {
  const auto drop = [now](Times& times, const Budget& budget) {
    std::erase_if(times, [&](UnixTime time) { return time + budget.span <= now || time > now; });
  };
  drop(all_, limits_.all);
  for (auto& [name, times] : domains_) drop(times, limits_.domain);
  for (auto& [name, times] : tenants_) drop(times, limits_.tenant);
  const auto is_empty = [](const auto& entry) { return entry.second.empty(); };
  std::erase_if(domains_, is_empty);
  std::erase_if(tenants_, is_empty);
}

std::string Budgets::encode(UnixTime now) const {
  Budgets current = *this;
  current.forget(now);
  const auto table = [](const Table& from) {
    json::object out;
    for (const auto& [name, times] : from) out[name] = encode_times(times);
    return out;
  };
  return json::serialize(json::object{{"orders", encode_times(current.all_)},
                                      {"domains", table(current.domains_)},
                                      {"tenants", table(current.tenants_)}});
}

Result<> Budgets::restore(std::string_view text) {
  auto object = parse_json_object("budgets", text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader("budgets", *object);
  Times all;
  Table domains, tenants;
  if (!read_times(reader.array("orders"), all))
    reader.set_error("orders", "holds something that is not a time");
  const auto read_table = [&](const char* name, Table& into) {
    const json::value* table = object->if_contains(name);
    if (table == nullptr || !table->is_object()) return reader.set_error(name, "is not an object");
    for (const auto& entry : table->get_object()) {
      if (!entry.value().is_array() ||
          !read_times(entry.value().get_array(), into[std::string(entry.key())])) {
        return reader.set_error(name, "holds something that is not a list of times");
      }
    }
  };
  read_table("domains", domains);
  read_table("tenants", tenants);
  if (reader.error()) return std::unexpected(*reader.error());
  all_ = std::move(all);
  domains_ = std::move(domains);
  tenants_ = std::move(tenants);
  return {};
}

}  // namespace culvert::acme
