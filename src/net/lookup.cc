#include "net/lookup.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

#include "base/text.h"

namespace culvert::net {
namespace {

using std::chrono::seconds;

// For a name with its whole search list; the callers' own deadlines are about as long.
constexpr Duration kLookupDeadline = seconds(10);
// A TTL of 0 would ask for each connection; a long one would outlive an address that moved.
constexpr Duration kMinFresh = seconds(1), kMaxFresh = seconds(60);
// A name server that is back, or a record that was added, is seen at the next connection but one.
constexpr Duration kFailureFresh = seconds(1);

}  // namespace

TimePoint Lookup::settled_at() const {
  if (v4_.answered && v6_.answered) return std::max(*v4_.answered, *v6_.answered);
  if (!v4_.addresses.empty()) return *v4_.answered + kPatience;
  if (!v6_.addresses.empty()) return *v6_.answered + kPatience;
  return TimePoint::max();
}

void Lookup::notify() {
  for (Notify* watcher : watchers_) watcher->notify();
}

Lookup::Watch::Watch(std::shared_ptr<Lookup> lookup, Notify& notify)
    : lookup_(std::move(lookup)), place_(lookup_->watchers_.insert(lookup_->watchers_.end(), &notify)) {}

Lookup::Watch::~Watch() { lookup_->watchers_.erase(place_); }

void NameLookup::fail_at_once(ErrorCode code, std::string_view reason) {
  set_error(code, reason);
  finish(loop_.now());
}

void NameLookup::answer_at_once(const std::vector<SocketAddr>& addresses) {
  is_v4_first_ = addresses.front().is_v4();
  for (const SocketAddr& address : addresses) (address.is_v4() ? v4_ : v6_).addresses.push_back(address);
  finish(loop_.now() + kMaxFresh);
}

void NameLookup::ask(DnsChannel& channel, std::vector<std::string> candidates) {
  channel_ = &channel;
  candidates_ = std::move(candidates);
  set_error(ErrorCode::kTimeout, fmt::format("no answer in time from {}", channel.servers()));
  deadline_.emplace(loop_);
  deadline_->after(kLookupDeadline, [this] {
    timed_out_ = true;
    conclude();
  });
  ask_candidate();
}

void NameLookup::ask_candidate() {
  v4_ = v6_ = {};
  const size_t candidate = candidate_;
  for (const int family : {AF_INET6, AF_INET}) {
    // The first answer may have come inside the call, and have ended the lookup.
    if (finished_ || candidate != candidate_) return;
    channel_->ask(candidates_[candidate], family,
                  [self = shared_from_this(), candidate, family](DnsAnswer answer) {
                    if (candidate == self->candidate_ && !self->finished_)
                      self->on_answer(family, std::move(answer));
                  });
  }
}

void NameLookup::on_answer(int family, DnsAnswer answer) {
  const TimePoint now = loop_.now();
  Family& mine = family == AF_INET ? v4_ : v6_;
  mine.answered = now;
  mine.addresses = std::move(answer.addresses);
  if (answer.status == DnsAnswer::Status::kFailed) failure_ = answer.reason;
  if (answer.status == DnsAnswer::Status::kTimeout) timed_out_ = true;
  if (answer.status == DnsAnswer::Status::kEmpty) name_exists_ = true;
  if (!mine.addresses.empty())
    fresh_until_ = std::min(fresh_until_, now + std::clamp(answer.ttl, kMinFresh, kMaxFresh));
  // A name without an A record that does not exist at all has no AAAA record either, and that answer may
  // never come. The reverse is not so sure: some servers deny a name when they mean its AAAA records
  // (RFC 4074, 4.2).
  const bool is_missing =
      family == AF_INET && answer.status == DnsAnswer::Status::kMissing && !has_addresses();
  const bool has_both = v4_.answered && v6_.answered;
  if (!has_both && !is_missing) {
    if (!mine.addresses.empty()) notify();
    return;
  }
  // Silence ends the search: the next name would meet the same servers.
  const bool goes_on = candidate_ + 1 < candidates_.size() && !has_addresses() && !timed_out_;
  if (!goes_on) return conclude();
  ++candidate_;
  ask_candidate();
}

void NameLookup::conclude() {
  if (has_addresses()) return finish(fresh_until_);
  if (timed_out_) {
    ++counters_->timeouts;  // and the error that ask() prepared
  } else {
    ++counters_->failures;
    const std::string& asked = channel_->servers();
    if (!failure_.empty()) {
      set_error(ErrorCode::kUnavailable, fmt::format("{} ({})", failure_, asked));
    } else if (name_exists_) {
      set_error(ErrorCode::kNotFound, fmt::format("the name has no address, says {}", asked));
    } else {
      set_error(ErrorCode::kNotFound, fmt::format("there is no such name, says {}", asked));
    }
  }
  finish(loop_.now() + kFailureFresh);
}

void NameLookup::set_error(ErrorCode code, std::string_view reason) {
  error_ = {code, fmt::format("cannot resolve {}: {}", quoted(host_), reason)};
}

void NameLookup::finish(TimePoint fresh_until) {
  finished_ = true;
  fresh_until_ = fresh_until;
  deadline_.reset();
  for (Family* family : {&v4_, &v6_}) {
    if (!family->answered) family->answered = loop_.now();
  }
  notify();
}

}  // namespace culvert::net
