#pragma once
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "base/key.h"
#include "hubapi/edge_certificates.h"
#include "net/event_loop.h"

namespace culvert::hub {

// What edges of their own are to have of certificates and pending challenges, in the order of its changes. An
// edge asks for what is behind the version that it has, and so says that it has that one. Lives on the hub's
// loop.
class CertificateFeed {
 public:
  // An edge waits so long for an answer without news.
  static constexpr Duration kWait = std::chrono::seconds(10);
  // One that has got an answer and does not ask again is away.
  static constexpr Duration kSilence = std::chrono::seconds(5);
  // Changes that come together are one answer.
  static constexpr Duration kDelay = std::chrono::milliseconds(20);
  // Of an answer; a certificate that does not fit in begins the next one.
  static constexpr size_t kMaxBytes = 1024 * 1024;
  // Removals that are remembered: an edge that is further behind begins again.
  static constexpr size_t kMaxRemovals = 10'000;

  // `epoch` is one that no other start of a hub had.
  CertificateFeed(net::EventLoop& loop, std::string epoch)
      : loop_(loop), epoch_(std::move(epoch)), changed_(loop), confirmed_(loop) {}
  CertificateFeed(const CertificateFeed&) = delete;

  // Nothing changes where the same is there already.
  void put(hubapi::EdgeCertificate certificate);
  void put(hubapi::EdgeChallenge challenge);
  void remove_certificate(const std::string& name);
  void remove(const hubapi::EdgeChallenge& challenge);

  // What the edge does not have. nullopt: the edge was revoked or asked once more, or the hub ends.
  net::Task<std::optional<hubapi::CertificateUpdate>> next(EndpointId edge,
                                                           hubapi::CertificateRequest request);
  // Returns when each edge that follows has all that is here now; false: not before `deadline`.
  net::Task<bool> taken_by_all(TimePoint deadline);

  bool is_following(const EndpointId& edge) const;
  size_t following() const;
  // Whether every edge that follows answers this type of challenge.
  bool all_answer(const std::string& type) const;

  // Is told nothing more.
  void revoke(const EndpointId& edge);
  void close();

 private:
  struct Item {
    uint64_t version = 0;
    bool is_there = true;  // false: it was removed
    std::variant<hubapi::EdgeCertificate, hubapi::EdgeChallenge> content;
  };
  struct Follower {
    uint64_t has = 0;      // of this epoch
    uint64_t request = 0;  // its last one
    bool is_waiting = false;
    TimePoint answered = {};
    std::vector<std::string> challenges = {};
  };

  // nullptr: it was revoked, or this is not its last request.
  Follower* find(const EndpointId& edge, uint64_t request);
  void change(std::string key, Item item);
  void forget_removals();
  hubapi::CertificateUpdate behind(const hubapi::CertificateRequest& request) const;
  bool is_live(const Follower& follower) const;
  bool is_behind(const hubapi::CertificateRequest& request) const;

  net::EventLoop& loop_;
  const std::string epoch_;
  uint64_t version_ = 0;
  uint64_t floor_ = 0;  // removals up to this version are forgotten
  size_t removals_ = 0;
  std::unordered_map<std::string, Item> items_;
  std::map<uint64_t, std::string> order_;  // keys of items_ by version
  std::map<EndpointId, Follower> followers_;
  uint64_t requests_ = 0;
  bool is_closed_ = false;
  net::Notify changed_;
  net::Notify confirmed_;
};

}  // namespace culvert::hub
