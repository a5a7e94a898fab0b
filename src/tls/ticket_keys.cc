#include "tls/ticket_keys.h"

#include <algorithm>

#include "base/crypto.h"

namespace culvert::tls {
namespace {

void erase(TicketKeys::Key& key) {
  wipe(key.cipher);
  wipe(key.mac);
}

}  // namespace

TicketKeys::~TicketKeys() { std::ranges::for_each(keys_, erase); }

void TicketKeys::forget_old(TimePoint now) {
  while (!keys_.empty() && now - keys_.back().made >= 2 * kLife) {
    erase(keys_.back());
    keys_.pop_back();
  }
}

TicketKeys::Key TicketKeys::current(TimePoint now, Random& random) {
  std::lock_guard lock(mutex_);
  forget_old(now);
  if (keys_.empty() || now - keys_.front().made >= kLife) {
    Key key{.name = {}, .cipher = {}, .mac = {}, .made = now};
    random.fill(key.name);
    random.fill(key.cipher);
    random.fill(key.mac);
    keys_.push_front(key);
    erase(key);
  }
  return keys_.front();
}

std::optional<TicketKeys::Known> TicketKeys::find(std::span<const uint8_t, kNameSize> name, TimePoint now) {
  std::lock_guard lock(mutex_);
  forget_old(now);
  const auto found =
      std::ranges::find_if(keys_, [&](const Key& key) { return std::ranges::equal(key.name, name); });
  if (found == keys_.end()) return std::nullopt;
  return Known{*found, found == keys_.begin() && now - found->made < kLife};
}

}  // namespace culvert::tls
