#include "ca/order.h"

#include <algorithm>

namespace culvert::ca {

using acme::AuthorizationStatus;
using acme::OrderStatus;

OfferedChallenge* OrderAuthorization::find(acme::ChallengeType type) {
  const auto found = std::ranges::find(challenges, type, &OfferedChallenge::type);
  return found == challenges.end() ? nullptr : &*found;
}

void PlacedOrder::update() {
  if (!is_unfinished()) return;
  const bool is_proven = std::ranges::all_of(authorizations, [](const OrderAuthorization& each) {
    return each.status == AuthorizationStatus::kValid;
  });
  const bool has_failed = std::ranges::any_of(authorizations, [](const OrderAuthorization& each) {
    return each.status != AuthorizationStatus::kValid && each.status != AuthorizationStatus::kPending;
  });
  status = has_failed ? OrderStatus::kInvalid : is_proven ? OrderStatus::kReady : OrderStatus::kPending;
}

PlacedOrder* Orders::find(const std::string& id, UnixTime now) {
  remove_expired(now);
  const auto found = orders_.find(id);
  return found == orders_.end() ? nullptr : &found->second;
}

bool Orders::add(PlacedOrder order, UnixTime now) {
  remove_expired(now);
  const auto unfinished = std::ranges::count_if(orders_, [&order](const auto& entry) {
    return entry.second.account_id == order.account_id && entry.second.is_unfinished();
  });
  if (static_cast<size_t>(unfinished) >= kMaxUnfinishedOfAccount) return false;
  while (authorizations_ + order.authorizations.size() > kMaxAuthorizations) {
    if (!remove_oldest_finished()) return false;
  }
  authorizations_ += order.authorizations.size();
  ids_.push_back(order.id);
  const std::string id = order.id;
  orders_.emplace(id, std::move(order));
  return true;
}

std::vector<PlacedOrder*> Orders::of_account(const std::string& account_id, UnixTime now) {
  remove_expired(now);
  std::vector<PlacedOrder*> out;
  for (const std::string& id : ids_) {
    PlacedOrder& order = orders_.at(id);
    if (order.account_id == account_id) out.push_back(&order);
  }
  return out;
}

void Orders::remove_expired(UnixTime now) {
  while (!ids_.empty() && orders_.at(ids_.front()).expires_at <= now) remove(std::string(ids_.front()));
}

void Orders::remove(const std::string& id) {
  const auto found = orders_.find(id);
  authorizations_ -= found->second.authorizations.size();
  orders_.erase(found);
  std::erase(ids_, id);
}

bool Orders::remove_oldest_finished() {
  const auto found =
      std::ranges::find_if(ids_, [this](const std::string& id) { return !orders_.at(id).is_unfinished(); });
  if (found == ids_.end()) return false;
  remove(std::string(*found));
  return true;
}

}  // namespace culvert::ca
