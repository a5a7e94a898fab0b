#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/socket_addr.h"
#include "net/dns_channel.h"
#include "net/event_loop.h"
#include "net/resolver.h"

// One name on its way to addresses. Inside net/ only.
namespace culvert::net {

// What is known of a name so far, shared by all that wait for it.
class Lookup {
 public:
  struct Family {
    std::vector<SocketAddr> addresses;  // port 0
    std::optional<TimePoint> answered;  // with or without addresses
  };

  const Family& v4() const { return v4_; }
  const Family& v6() const { return v6_; }
  // localhost and the hosts file have an order of their own; otherwise IPv6 comes first (RFC 8305, 4).
  bool is_v4_first() const { return is_v4_first_; }
  bool has_addresses() const { return !v4_.addresses.empty() || !v6_.addresses.empty(); }
  // When nothing more is worth waiting for: now or past, a time at which it will be so, or TimePoint::max()
  // while there is no address and an answer is due.
  TimePoint settled_at() const;
  // Of a lookup that has no address: why, or that no answer came in time while one is due.
  const Error& error() const { return error_; }

  // Notified at each change while it exists.
  class Watch {
   public:
    Watch(std::shared_ptr<Lookup> lookup, Notify& notify);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    std::shared_ptr<Lookup> lookup_;
    std::list<Notify*>::iterator place_;
  };

 protected:
  ~Lookup() = default;
  void notify();

  Family v4_, v6_;
  bool is_v4_first_ = false;
  Error error_{ErrorCode::kUnavailable, {}};

 private:
  std::list<Notify*> watchers_;
};

// The lookup of a host on this loop, or the one that is under way or fresh already.
std::shared_ptr<Lookup> look_up(EventLoop& loop, const std::string& host);

//  asking candidate 1 ──no address──▶ asking candidate 2 ...──▶ finished: found, or failed
//        └── an address, silence, or the deadline ──────────────────▲
// A candidate is two questions, A and AAAA. Owned by the cache, by those that wait and by its open questions.
class NameLookup final : public Lookup, public std::enable_shared_from_this<NameLookup> {
 public:
  NameLookup(EventLoop& loop, std::string host, std::shared_ptr<ResolverCounters> counters)
      : loop_(loop), host_(std::move(host)), counters_(std::move(counters)) {}

  void fail_at_once(ErrorCode code, std::string_view reason);
  void answer_at_once(const std::vector<SocketAddr>& addresses);
  // Asks for the candidates in turn. The channel stays until the last question is answered.
  void ask(DnsChannel& channel, std::vector<std::string> candidates);

  // A lookup under way is shared, whatever the TTL of the addresses that it has already: where AAAA meets
  // silence, lookups of one name would otherwise pile up.
  bool is_fresh(TimePoint now) const { return !finished_ || now < fresh_until_; }
  bool is_finished() const { return finished_; }
  TimePoint fresh_until() const { return fresh_until_; }

 private:
  void ask_candidate();
  void on_answer(int family, DnsAnswer answer);
  void conclude();
  void set_error(ErrorCode code, std::string_view reason);
  void finish(TimePoint fresh_until);

  EventLoop& loop_;
  const std::string host_;
  const std::shared_ptr<ResolverCounters> counters_;
  DnsChannel* channel_ = nullptr;
  std::vector<std::string> candidates_;
  size_t candidate_ = 0;
  std::optional<Timer> deadline_;
  TimePoint fresh_until_ = TimePoint::max();
  std::string failure_;  // of a name server
  bool timed_out_ = false, name_exists_ = false, finished_ = false;
};

}  // namespace culvert::net
