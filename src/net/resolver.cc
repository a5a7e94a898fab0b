#include "net/resolver.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <fstream>
#include <list>
#include <sstream>
#include <unordered_map>

#include "base/ascii.h"
#include "base/text.h"
#include "net/dns_channel.h"
#include "net/host_name.h"
#include "net/lookup.h"
#include "net/resolv_conf.h"

namespace culvert::net {
namespace {

using Addresses = std::vector<SocketAddr>;

// Two for each name. A host whose name servers leave so many unanswered has a fault that more would not cure.
constexpr size_t kMaxQuestions = 1024;
constexpr size_t kMaxCached = 1024;
// The files are read on the loop's thread.
constexpr size_t kMaxFile = 16 << 20;

// Tells one state of a file from another.
struct FileState {
  explicit FileState(const std::string& path) {
    struct stat status{};
    if (stat(path.c_str(), &status) != 0) return;
    inode = status.st_ino;
    size = status.st_size;
    modified = status.st_mtim.tv_sec;
    modified_nanoseconds = status.st_mtim.tv_nsec;
  }
  bool operator==(const FileState&) const = default;

  uint64_t inode = 0;
  int64_t size = -1, modified = 0, modified_nanoseconds = 0;
};

// Empty when there is none.
std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::array<char, 4096> piece;
  while (file && text.size() < kMaxFile) {
    file.read(piece.data(), piece.size());
    text.append(piece.data(), static_cast<size_t>(file.gcount()));
  }
  return text;
}

Result<Addresses> result_of(const Lookup& lookup, const HostPort& host) {
  if (!lookup.has_addresses()) return std::unexpected(lookup.error());
  Addresses found;
  const auto add = [&](const Lookup::Family& family) {
    for (const SocketAddr& address : family.addresses) found.push_back(address.with_port(host.port));
  };
  if (lookup.is_v4_first()) add(lookup.v4());
  add(lookup.v6());
  if (!lookup.is_v4_first()) add(lookup.v4());
  return found;
}

// The state of one loop.
class Resolver {
 public:
  Resolver(EventLoop& loop, ResolverOptions options)
      : loop_(loop),
        options_(std::move(options)),
        conf_state_(options_.resolv_conf),
        hosts_state_(options_.hosts) {}

  std::shared_ptr<Lookup> look_up(const std::string& given);
  // False: too many questions are unanswered.
  bool ask_texts(const std::string& name, DnsChannel::TextsCallback callback);
  const std::vector<SocketAddr>& servers() {
    notice_changes();
    return conf_.servers;
  }
  const ResolverCounters& counters() const { return *counters_; }

 private:
  std::shared_ptr<Lookup> look_up_name(const std::string& given);
  void notice_changes();
  void open_channel();
  bool make_room();
  size_t questions() const;

  EventLoop& loop_;
  const ResolverOptions options_;
  const std::shared_ptr<ResolverCounters> counters_ = std::make_shared<ResolverCounters>();
  FileState conf_state_, hosts_state_;
  ResolvConf conf_;
  std::unordered_map<std::string, std::shared_ptr<NameLookup>> cache_;
  // The last is in use; those before it are kept for their unanswered questions.
  std::vector<std::unique_ptr<DnsChannel>> channels_;
};

// Keeps the resolver in its loop's context: it goes with the loop, before anything that it stands on.
class ResolverSlot : public boost::asio::execution_context::service {
 public:
  using key_type = ResolverSlot;
  static inline boost::asio::execution_context::id id;

  explicit ResolverSlot(boost::asio::io_context& context) : service(context) {}

  static std::unique_ptr<Resolver>& of(EventLoop& loop) {
    auto& resolver = boost::asio::use_service<ResolverSlot>(loop.context()).resolver_;
    if (!resolver) resolver = std::make_unique<Resolver>(loop, ResolverOptions{});
    return resolver;
  }

 private:
  void shutdown() noexcept override { resolver_.reset(); }

  std::unique_ptr<Resolver> resolver_;
};

std::shared_ptr<Lookup> Resolver::look_up(const std::string& given) {
  const auto literal = parse_ip_literal(given);
  if (!literal && is_plausible_name(given) && !is_localhost(to_lower(given))) return look_up_name(given);
  auto lookup = std::make_shared<NameLookup>(loop_, given, counters_);
  if (literal) {
    lookup->answer_at_once({*literal});
  } else if (is_plausible_name(given)) {
    // IPv4 first: more local services listen there.
    lookup->answer_at_once({SocketAddr::v4({127, 0, 0, 1}, 0),
                            SocketAddr::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 0)});
  } else {
    lookup->fail_at_once(ErrorCode::kNotFound, "this is neither a host name nor an IP address");
  }
  return lookup;
}

std::shared_ptr<Lookup> Resolver::look_up_name(const std::string& given) {
  ++counters_->lookups;
  notice_changes();
  const std::string host = to_lower(given);
  const auto cached = cache_.find(host);
  if (cached != cache_.end() && cached->second->is_fresh(loop_.now())) {
    ++counters_->cache_hits;
    return cached->second;
  }
  auto lookup = std::make_shared<NameLookup>(loop_, given, counters_);
  const Addresses local = find_in_hosts(read_text(options_.hosts), host);
  const bool has_room = cached != cache_.end() || make_room();
  if (!has_room || (local.empty() && questions() + 2 > kMaxQuestions)) {
    ++counters_->refused;
    lookup->fail_at_once(
        ErrorCode::kUnavailable,
        "too many names are being resolved; check the name servers of " + options_.resolv_conf);
    return lookup;
  }
  cache_[host] = lookup;
  if (local.empty()) {
    lookup->ask(*channels_.back(), search_candidates(conf_, host));
  } else {
    ++counters_->hosts_hits;
    lookup->answer_at_once(local);
  }
  return lookup;
}

bool Resolver::ask_texts(const std::string& name, DnsChannel::TextsCallback callback) {
  ++counters_->lookups;
  notice_changes();
  if (questions() >= kMaxQuestions) {
    ++counters_->refused;
    return false;
  }
  channels_.back()->ask_texts(
      name, [counters = counters_, callback = std::move(callback)](DnsTexts answer) mutable {
        if (answer.status == DnsAnswer::Status::kTimeout) ++counters->timeouts;
        if (answer.status == DnsAnswer::Status::kFailed) ++counters->failures;
        callback(std::move(answer));
      });
  return true;
}

// A file that changed makes all answers old, also those which are still to come.
void Resolver::notice_changes() {
  const FileState conf_state(options_.resolv_conf), hosts_state(options_.hosts);
  if (hosts_state != hosts_state_ || conf_state != conf_state_) cache_.clear();
  const bool needs_channel = channels_.empty() || !channels_.back()->is_usable() || conf_state != conf_state_;
  hosts_state_ = hosts_state;
  conf_state_ = conf_state;
  if (needs_channel) open_channel();
  const auto current = std::prev(channels_.end());
  channels_.erase(
      std::remove_if(channels_.begin(), current, [](const auto& channel) { return channel->pending() == 0; }),
      current);
}

void Resolver::open_channel() {
  conf_ = parse_resolv_conf(read_text(options_.resolv_conf));
  if (!options_.servers.empty()) {
    conf_.servers.clear();
    std::istringstream list(options_.servers);
    for (std::string server; std::getline(list, server, ',');)
      conf_.servers.push_back(SocketAddr::parse(server).value());
  }
  channels_.push_back(std::make_unique<DnsChannel>(loop_, conf_));
}

bool Resolver::make_room() {
  if (cache_.size() < kMaxCached) return true;
  const TimePoint now = loop_.now();
  std::erase_if(cache_, [now](const auto& entry) { return entry.second->fresh_until() <= now; });
  if (cache_.size() < kMaxCached) return true;
  auto oldest = cache_.end();
  for (auto entry = cache_.begin(); entry != cache_.end(); ++entry) {
    if (!entry->second->is_finished()) continue;
    if (oldest == cache_.end() || entry->second->fresh_until() < oldest->second->fresh_until())
      oldest = entry;
  }
  if (oldest == cache_.end()) return false;
  cache_.erase(oldest);
  return true;
}

size_t Resolver::questions() const {
  size_t sum = 0;
  for (const auto& channel : channels_) sum += channel->pending();
  return sum;
}

}  // namespace

std::shared_ptr<Lookup> look_up(EventLoop& loop, const std::string& host) {
  return ResolverSlot::of(loop)->look_up(host);
}

std::vector<SocketAddr> resolver_servers(EventLoop& loop) { return ResolverSlot::of(loop)->servers(); }

const ResolverCounters& resolver_counters(EventLoop& loop) { return ResolverSlot::of(loop)->counters(); }

void report(const ResolverCounters& counters, Metrics& metrics) {
  metrics.counter("culvert_resolver_lookups_total", "Names that were looked up.", counters.lookups);
  metrics.counter("culvert_resolver_cache_hits_total", "Lookups that the cache answered.",
                  counters.cache_hits);
  metrics.counter("culvert_resolver_hosts_hits_total", "Lookups that the hosts file answered.",
                  counters.hosts_hits);
  metrics.counters("culvert_resolver_failures_total", "Lookups that failed, by reason.", "reason",
                   {
                       {"timeout", counters.timeouts},
                       {"answer", counters.failures},
                       {"limit", counters.refused},
                   });
}

Task<std::vector<Result<Addresses>>> resolve_all(EventLoop& loop, std::vector<HostPort> hosts,
                                                 TimePoint deadline) {
  Notify changed(loop);
  std::vector<std::shared_ptr<Lookup>> lookups;
  std::list<Lookup::Watch> watches;
  for (const HostPort& host : hosts) {
    lookups.push_back(look_up(loop, host.host));
    watches.emplace_back(lookups.back(), changed);
  }
  while (true) {
    const TimePoint now = loop.now();
    TimePoint settled = now;
    bool has_addresses = false;
    for (const auto& lookup : lookups) {
      settled = std::max(settled, lookup->settled_at());
      has_addresses = has_addresses || lookup->has_addresses();
    }
    if (has_addresses) deadline = std::min(deadline, now + kPatience);
    if (settled <= now || deadline <= now) break;
    co_await changed.wait_until(std::min(deadline, settled));
  }
  std::vector<Result<Addresses>> results;
  for (size_t i = 0; i < hosts.size(); ++i) results.push_back(result_of(*lookups[i], hosts[i]));
  co_return results;
}

Task<Result<Addresses>> resolve(EventLoop& loop, std::string host, uint16_t port, TimePoint deadline) {
  std::vector<HostPort> hosts{{std::move(host), port}};
  auto results = co_await resolve_all(loop, std::move(hosts), deadline);
  co_return std::move(results.front());
}

Task<Result<std::vector<std::string>>> resolve_texts(EventLoop& loop, std::string name, TimePoint deadline) {
  struct Asking {
    explicit Asking(EventLoop& its_loop) : changed(its_loop) {}
    Notify changed;
    std::optional<DnsTexts> answer;
  };
  if (!is_plausible_name(name)) co_return fail(ErrorCode::kNotFound, "{} is not a host name", quoted(name));
  const auto asking = std::make_shared<Asking>(loop);
  const bool is_asked = ResolverSlot::of(loop)->ask_texts(name, [asking](DnsTexts answer) {
    asking->answer = std::move(answer);
    asking->changed.notify();
  });
  if (!is_asked) co_return fail(ErrorCode::kLimit, "too many names are being resolved; try again later");
  bool in_time = true;
  while (!asking->answer && in_time) in_time = co_await asking->changed.wait_until(deadline);
  if (!asking->answer || asking->answer->status == DnsAnswer::Status::kTimeout)
    co_return fail(ErrorCode::kTimeout, "no name server answered in time for the TXT records of {}",
                   quoted(name));
  if (asking->answer->status == DnsAnswer::Status::kFailed)
    co_return fail(ErrorCode::kUnavailable, "the TXT records of {}: {}", quoted(name),
                   asking->answer->reason);
  co_return std::move(asking->answer->texts);
}

void configure_resolver(EventLoop& loop, ResolverOptions options) {
  ResolverSlot::of(loop) = std::make_unique<Resolver>(loop, std::move(options));
}

}  // namespace culvert::net
