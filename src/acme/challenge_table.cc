#include "acme/challenge_table.h"

#include <algorithm>

#include "base/ascii.h"

namespace culvert::acme {
namespace {

std::string file_key(std::string_view host, std::string_view path) {
  return to_lower(host) + std::string(path);
}

}  // namespace

Result<> ChallengeTable::add(const Challenge& challenge, UnixTime now) {
  tls::IdentityPtr identity;
  if (challenge.type == ChallengeType::kTlsAlpn01) {
    auto made = tls::acme_challenge_identity(challenge.name, challenge.digest(), now);
    if (!made) return std::unexpected(made.error());
    identity = std::move(*made);
  }
  const std::lock_guard lock(mutex_);
  if (certificates_.size() + files_.size() + texts_.size() >= kMaxChallenges) {
    return fail(ErrorCode::kLimit, "more than {} challenges are pending", kMaxChallenges);
  }
  switch (challenge.type) {
    case ChallengeType::kTlsAlpn01:
      certificates_.insert_or_assign(
          challenge.name,
          Certificate{.identity = std::move(identity), .key_authorization = challenge.key_authorization});
      break;
    case ChallengeType::kHttp01:
      files_.insert_or_assign(file_key(challenge.name, challenge.http_path()), challenge.key_authorization);
      break;
    case ChallengeType::kDns01:
      texts_.emplace(challenge.dns_name(), challenge.dns_text());
      break;
  }
  return {};
}

void ChallengeTable::remove(const Challenge& challenge) {
  const std::lock_guard lock(mutex_);
  switch (challenge.type) {
    case ChallengeType::kTlsAlpn01:
      if (const auto place = certificates_.find(challenge.name);
          place != certificates_.end() && place->second.key_authorization == challenge.key_authorization)
        certificates_.erase(place);
      break;
    case ChallengeType::kHttp01:
      files_.erase(file_key(challenge.name, challenge.http_path()));
      break;
    case ChallengeType::kDns01: {
      const auto [first, last] = texts_.equal_range(challenge.dns_name());
      const auto place =
          std::find_if(first, last, [&](const auto& each) { return each.second == challenge.dns_text(); });
      if (place != last) texts_.erase(place);
      break;
    }
  }
}

tls::IdentityPtr ChallengeTable::certificate(std::string_view server_name) const {
  const std::lock_guard lock(mutex_);
  const auto place = certificates_.find(to_lower(server_name));
  return place == certificates_.end() ? nullptr : place->second.identity;
}

std::optional<std::string> ChallengeTable::http_answer(std::string_view host, std::string_view path) const {
  const std::lock_guard lock(mutex_);
  const auto place = files_.find(file_key(host, path));
  if (place == files_.end()) return std::nullopt;
  return place->second;
}

std::vector<std::string> ChallengeTable::texts(std::string_view dns_name) const {
  const std::lock_guard lock(mutex_);
  const auto [first, last] = texts_.equal_range(to_lower(dns_name));
  std::vector<std::string> out;
  for (auto place = first; place != last; ++place) out.push_back(place->second);
  return out;
}

size_t ChallengeTable::size() const {
  const std::lock_guard lock(mutex_);
  return certificates_.size() + files_.size() + texts_.size();
}

}  // namespace culvert::acme
