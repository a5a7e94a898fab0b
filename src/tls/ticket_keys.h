#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>

#include "base/clock.h"
#include "base/random.h"

namespace culvert::tls {

// The keys of the session tickets of one server context (RFC 5077, 4; RFC 8446, 4.6.1). A key encrypts for
// kLife, and decrypts for as long again: one that leaks opens no more sessions than those. In memory only.
// Thread-safe.
class TicketKeys {
 public:
  static constexpr Duration kLife = std::chrono::hours(12);
  static constexpr size_t kNameSize = 16;

  struct Key {
    std::array<uint8_t, kNameSize> name;
    std::array<uint8_t, 32> cipher;  // AES-256-CBC
    std::array<uint8_t, 32> mac;     // HMAC-SHA-256
    TimePoint made;
  };

  TicketKeys() = default;
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;

  // The one that encrypts at `now`.
  Key current(TimePoint now, Random& random);
  struct Known {
    Key key;
    bool is_current;  // otherwise the client is to get a new ticket
  };
  // nullopt: it was never there, or is too old.
  std::optional<Known> find(std::span<const uint8_t, kNameSize> name, TimePoint now);

 private:
  void forget_old(TimePoint now);

  std::mutex mutex_;
  std::deque<Key> keys_;  // newest first
};

}  // namespace culvert::tls
