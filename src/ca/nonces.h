#pragma once
#include <deque>
#include <string>
#include <unordered_set>

#include "base/encoding.h"
#include "base/random.h"

namespace culvert::ca {

// What makes each signed request count once (RFC 8555, 6.5). Anyone may ask for nonces: the newest ones are
// kept, and a client whose nonce had to make room is told to take the fresh one that comes with the refusal.
class Nonces {
 public:
  // About 2 MiB. All requests of this many clients may be on their way at once.
  static constexpr size_t kMaxNonces = 16 * 1024;

  std::string issue(Random& random) {
    std::array<uint8_t, 16> bytes;
    random.fill(bytes);
    std::string nonce = to_base64url(bytes);
    // Used ones leave the queue with their turn.
    if (order_.size() == kMaxNonces) {
      live_.erase(order_.front());
      order_.pop_front();
    }
    live_.insert(nonce);
    order_.push_back(nonce);
    return nonce;
  }
  // True: it was issued and not used before.
  bool use(const std::string& nonce) { return live_.erase(nonce) == 1; }

 private:
  std::unordered_set<std::string> live_;
  std::deque<std::string> order_;  // all that were issued, oldest first
};

}  // namespace culvert::ca
