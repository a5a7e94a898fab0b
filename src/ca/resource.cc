#include "ca/resource.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/whole_number.h"

namespace culvert::ca {
namespace {

using Kind = Resource::Kind;

struct Fixed {
  Kind kind;
  std::string_view path;
};
constexpr std::array kFixed = {
    Fixed{Kind::kDirectory, "/directory"},        Fixed{Kind::kRoot, "/root.pem"},
    Fixed{Kind::kNewNonce, "/acme/new-nonce"},    Fixed{Kind::kNewAccount, "/acme/new-account"},
    Fixed{Kind::kKeyChange, "/acme/key-change"},  Fixed{Kind::kNewOrder, "/acme/new-order"},
    Fixed{Kind::kRevocation, "/acme/revoke-cert"}};

// The words between the slashes; empty: more than any path has.
std::vector<std::string_view> words_of(std::string_view path) {
  constexpr size_t kMostWords = 5;
  std::vector<std::string_view> out;
  while (path.starts_with('/')) {
    path.remove_prefix(1);
    const size_t end = std::min(path.find('/'), path.size());
    if (out.size() == kMostWords) return {};
    out.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return out;
}

}  // namespace

std::string Resource::path() const {
  switch (kind) {
    case Kind::kRenewalInfo:
      return fmt::format("/acme/renewal-info/{}", id);
    case Kind::kAccount:
      return fmt::format("/acme/account/{}", id);
    case Kind::kAccountOrders:
      return fmt::format("/acme/account/{}/orders", id);
    case Kind::kOrder:
      return fmt::format("/acme/order/{}", id);
    case Kind::kFinalization:
      return fmt::format("/acme/order/{}/finalize", id);
    case Kind::kAuthorization:
      return fmt::format("/acme/authorization/{}/{}", id, index);
    case Kind::kChallenge:
      return fmt::format("/acme/challenge/{}/{}/{}", id, index, acme::to_string(type));
    case Kind::kCertificate:
      return fmt::format("/acme/certificate/{}", id);
    default:
      return std::string(std::ranges::find(kFixed, kind, &Fixed::kind)->path);
  }
}

std::optional<Resource> parse_resource(std::string_view path) {
  const auto fixed = std::ranges::find(kFixed, path, &Fixed::path);
  if (fixed != kFixed.end()) return Resource{.kind = fixed->kind};
  const std::vector<std::string_view> words = words_of(path);
  if (words.size() < 3 || words[0] != "acme" || words[2].empty()) return std::nullopt;
  const std::string_view kind = words[1];
  std::string id(words[2]);
  if (words.size() == 3) {
    if (kind == "renewal-info") return Resource{.kind = Kind::kRenewalInfo, .id = std::move(id)};
    if (kind == "account") return Resource{.kind = Kind::kAccount, .id = std::move(id)};
    if (kind == "order") return Resource{.kind = Kind::kOrder, .id = std::move(id)};
    if (kind == "certificate") return Resource{.kind = Kind::kCertificate, .id = std::move(id)};
    return std::nullopt;
  }
  if (words.size() == 4 && kind == "account" && words[3] == "orders")
    return Resource{.kind = Kind::kAccountOrders, .id = std::move(id)};
  if (words.size() == 4 && kind == "order" && words[3] == "finalize")
    return Resource{.kind = Kind::kFinalization, .id = std::move(id)};
  const auto index = whole_number<size_t>(words[3]);
  if (!index) return std::nullopt;
  if (words.size() == 4 && kind == "authorization")
    return Resource{.kind = Kind::kAuthorization, .id = std::move(id), .index = *index};
  if (words.size() != 5 || kind != "challenge") return std::nullopt;
  const auto type = acme::parse_challenge_type(words[4]);
  if (!type) return std::nullopt;
  return Resource{.kind = Kind::kChallenge, .id = std::move(id), .index = *index, .type = *type};
}

}  // namespace culvert::ca
