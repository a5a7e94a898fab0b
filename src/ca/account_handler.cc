#include "ca/account_handler.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/text.h"
#include "ca/payload.h"

namespace culvert::ca {
namespace {

namespace json = boost::json;
using acme::ProblemType;
using Kind = Resource::Kind;

// Enough for a mail address of each of those who look after an account.
constexpr size_t kMaxContacts = 10;
constexpr size_t kMaxContact = 320;

Outcome<std::vector<std::string>> read_contacts(const json::object& payload) {
  JsonReader reader("payload", payload);
  auto contacts = reader.has("contact") ? reader.texts("contact") : std::vector<std::string>();
  if (reader.error()) return malformed("{}", reader.error()->message);
  if (contacts.size() > kMaxContacts) {
    return refuse(400, ProblemType::kInvalidContact, "there are more than {} contacts", kMaxContacts);
  }
  for (const std::string& contact : contacts) {
    constexpr std::string_view kScheme = "mailto:";
    if (!contact.starts_with(kScheme)) {
      return refuse(400, ProblemType::kUnsupportedContact, "the contact {} is not a mailto: URL",
                    quoted(contact));
    }
    // One address, without header fields (RFC 8555, 7.3).
    const std::string_view address = std::string_view(contact).substr(kScheme.size());
    const size_t at = address.find('@');
    const bool is_address =
        at != address.npos && at > 0 && at + 1 < address.size() && address.find('@', at + 1) == address.npos;
    if (!is_address || address.find_first_of(" ,?<>\"") != address.npos || !is_printable(address) ||
        contact.size() > kMaxContact) {
      return refuse(400, ProblemType::kInvalidContact, "the contact {} is not one mail address",
                    quoted(contact));
    }
  }
  return contacts;
}

bool flag(const json::object& payload, std::string_view name) {
  const json::value* value = payload.if_contains(name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

}  // namespace

http::Response AccountHandler::show(int status, const Account& account) const {
  http::Response out = json_response(
      status, json::object{{"status", account.is_deactivated ? "deactivated" : "valid"},
                           {"contact", json_array(account.contacts)},
                           {"orders", state_.url({.kind = Kind::kAccountOrders, .id = account.id})}});
  out.headers.add("Location", state_.url({.kind = Kind::kAccount, .id = account.id}));
  return out;
}

Outcome<http::Response> AccountHandler::create(const Call& call) {
  const auto payload = parse_payload(call.request.payload);
  if (!payload) return std::unexpected(payload.error());
  const AccountKey& key = *call.request.key;
  if (const Account* existing = state_.accounts.find_by_key(key)) {
    if (!existing->is_deactivated) return show(200, *existing);
    return refuse(403, ProblemType::kUnauthorized, "the account of this key is deactivated; use another key");
  }
  if (flag(*payload, "onlyReturnExisting")) {
    return refuse(400, ProblemType::kAccountDoesNotExist, "there is no account with this key");
  }
  auto contacts = read_contacts(*payload);
  if (!contacts) return std::unexpected(contacts.error());
  const json::value* binding = payload->if_contains("externalAccountBinding");
  auto bound = check_binding(call.request, binding == nullptr ? "" : json::serialize(*binding));
  if (!bound) return std::unexpected(bound.error());
  if (state_.accounts.is_full()) {
    return refuse(429, ProblemType::kRateLimited, "this server has {} accounts and makes no further ones",
                  Accounts::kMaxAccounts);
  }
  Account account{.id = state_.new_id(), .key = key, .contacts = std::move(*contacts)};
  const std::string id = account.id;
  auto kept = state_.keep(std::move(account));
  if (!kept) return std::unexpected(kept.error());
  return show(201, *state_.accounts.find(id));
}

// Where none is required, one that comes all the same is ignored (RFC 8555, 7.3.4).
Outcome<> AccountHandler::check_binding(const SignedRequest& request, const std::string& binding) const {
  if (!state_.options.external_account) return {};
  if (binding.empty()) {
    return refuse(
        403, ProblemType::kExternalAccountRequired,
        "accounts are made only with the key id and the MAC key that the operator of this CA gives");
  }
  return check_external_binding(binding, *state_.options.external_account, *request.key, request.url);
}

Outcome<http::Response> AccountHandler::update(const Call& call) {
  if (call.resource.id != call.account->id) return of_another_account("account");
  if (call.request.payload.empty()) return show(200, *call.account);
  const auto payload = parse_payload(call.request.payload);
  if (!payload) return std::unexpected(payload.error());
  Account changed = *call.account;
  if (const json::value* status = payload->if_contains("status")) {
    if (*status != json::value("deactivated"))
      return malformed("payload: the only \"status\" that an account can be given is \"deactivated\"");
    changed.is_deactivated = true;
  }
  if (payload->contains("contact")) {
    auto contacts = read_contacts(*payload);
    if (!contacts) return std::unexpected(contacts.error());
    changed.contacts = std::move(*contacts);
  }
  const bool is_deactivated = changed.is_deactivated;
  auto kept = state_.keep(std::move(changed));
  if (!kept) return std::unexpected(kept.error());
  if (is_deactivated) end_orders(call.account->id, call.now);
  return show(200, *call.account);
}

void AccountHandler::end_orders(const std::string& account_id, UnixTime now) {
  for (PlacedOrder* order : state_.orders.of_account(account_id, now)) {
    if (!order->is_unfinished()) continue;
    for (OrderAuthorization& each : order->authorizations)
      each.status = acme::AuthorizationStatus::kDeactivated;
    order->update();
  }
}

Outcome<http::Response> AccountHandler::list_orders(const Call& call) {
  if (call.resource.id != call.account->id) return of_another_account("list");
  auto empty = expect_no_payload(call.request.payload);
  if (!empty) return std::unexpected(empty.error());
  json::array urls;
  for (const PlacedOrder* order : state_.orders.of_account(call.account->id, call.now)) {
    if (order->status != acme::OrderStatus::kInvalid)
      urls.push_back(json::string(state_.url({.kind = Kind::kOrder, .id = order->id})));
  }
  return json_response(200, json::object{{"orders", std::move(urls)}});
}

// The payload is signed by the new key, the request around it by the old one (RFC 8555, 7.3.5).
Outcome<http::Response> AccountHandler::change_key(const Call& call) {
  const auto inner = parse_signed_request(call.request.payload);
  if (!inner) return std::unexpected(inner.error());
  if (!inner->key) return malformed("the inner JWS does not have the new key in \"jwk\"");
  if (!inner->nonce.empty()) return malformed("the inner JWS has a \"nonce\", which is not allowed");
  if (inner->url != call.request.url)
    return malformed("the inner JWS has another \"url\" than the outer one");
  auto is_signed = inner->check(*inner->key);
  if (!is_signed) return std::unexpected(is_signed.error());
  const auto payload = parse_payload(inner->payload);
  if (!payload) return std::unexpected(payload.error());
  JsonReader reader("payload of the inner JWS", *payload);
  const std::string_view account = reader.text("account");
  if (reader.error()) return malformed("{}", reader.error()->message);
  const json::value* old_jwk = payload->if_contains("oldKey");
  const auto old_key = parse_account_key(old_jwk == nullptr ? "" : json::serialize(*old_jwk));
  if (account != call.request.account_url) return malformed("the inner JWS names another account");
  if (!old_key || old_key->jwk != call.account->key.jwk)
    return malformed("the inner JWS does not name the old key of the account in \"oldKey\"");
  if (const Account* other = state_.accounts.find_by_key(*inner->key)) {
    Refusal taken{.status = 409, .type = ProblemType::kMalformed, .detail = "another account has this key"};
    taken.headers.add("Location", state_.url({.kind = Kind::kAccount, .id = other->id}));
    return std::unexpected(std::move(taken));
  }
  Account changed = *call.account;
  changed.key = *inner->key;
  auto kept = state_.keep(std::move(changed));
  if (!kept) return std::unexpected(kept.error());
  return show(200, *call.account);
}

}  // namespace culvert::ca
