#include "dns/visibility.h"

#include <algorithm>

#include "base/text.h"
#include "dns/exchange.h"
#include "net/resolver.h"

namespace culvert::dns {
namespace {

// Of one zone; and addresses over all of them. Zones have two to six servers.
constexpr size_t kMaxServers = 8;
constexpr size_t kMaxAddresses = 16;
// A chain of aliases that is longer is a loop.
constexpr size_t kMaxAliases = 8;
constexpr size_t kMaxResolvers = 3;  // as resolv.conf(5)
// For one answer. A server that is down must not take the time of all others.
constexpr Duration kPatience = std::chrono::seconds(3);

struct Delegation {
  Name apex;
  std::vector<Name> servers;
};

class Look {
 public:
  Look(net::EventLoop& loop, const VisibilityOptions& options, Name name, std::string value)
      : loop_(loop), options_(options), name_(std::move(name)), value_(std::move(value)) {}

  // True: the value is where it is looked for. Otherwise report() says what was found.
  net::Task<bool> run(TimePoint deadline);
  const std::string& report() const { return report_; }

 private:
  enum class Seen { kValue, kOther, kNothing };

  // False: no server that answers has an alias, or a value is missing.
  net::Task<bool> look_at_zone(Delegation zone, TimePoint deadline);
  net::Task<Seen> look_at_server(Name server, TimePoint deadline);
  Seen judge(const Message& answer, const std::string& where);
  // nullopt: the report says why.
  net::Task<std::optional<Delegation>> find_zone(TimePoint deadline);
  net::Task<Result<Message>> ask_resolver(Name name, TimePoint deadline);
  void add_to_report(const std::string& text) { report_ += (report_.empty() ? "" : "; ") + text; }

  net::EventLoop& loop_;
  const VisibilityOptions& options_;
  Name name_;  // that is looked for; the target, behind an alias
  const std::string value_;
  std::optional<Name> alias_;  // that name_ has, as the last server said
  size_t addresses_ = 0;       // that were asked
  std::string report_;
};

Message query_for(net::EventLoop& loop, Name name, Type type) {
  return {.header = {.id = static_cast<uint16_t>(loop.random().u64())},
          .questions = {{std::move(name), type}},
          .edns = Edns{.udp_size = kMaxUdpSize}};
}

net::Task<bool> Look::run(TimePoint deadline) {
  for (size_t aliases = 0; aliases <= kMaxAliases; ++aliases) {
    report_.clear();
    alias_.reset();
    auto zone = co_await find_zone(deadline);
    if (!zone) co_return false;
    const bool is_visible = co_await look_at_zone(std::move(*zone), deadline);
    if (!alias_) co_return is_visible;
    name_ = std::move(*alias_);
  }
  add_to_report(fmt::format("there are more than {} aliases", kMaxAliases));
  co_return false;
}

net::Task<bool> Look::look_at_zone(Delegation zone, TimePoint deadline) {
  if (options_.zone && zone.apex != *options_.zone && name_.is_within(*options_.zone)) {
    add_to_report(fmt::format(
        "{0} is served by the name servers of the zone {1}, not by those of {2}: the NS record of "
        "{2} is missing in its parent zone",
        name_.to_string(), zone.apex.to_string(), options_.zone->to_string()));
    co_return false;
  }
  bool is_seen = false;
  addresses_ = 0;
  for (const Name& server : zone.servers) {
    if (loop_.now() >= deadline) break;
    const Seen seen = co_await look_at_server(server, deadline);
    if (alias_ || seen == Seen::kOther) co_return false;
    is_seen = is_seen || seen == Seen::kValue;
  }
  co_return is_seen;
}

// What an address does not answer another one may.
net::Task<Look::Seen> Look::look_at_server(Name server, TimePoint deadline) {
  const std::string text = server.to_string();
  auto addresses =
      co_await net::resolve(loop_, text + ".", options_.port, std::min(deadline, loop_.now() + kPatience));
  if (!addresses) {
    add_to_report(addresses.error().message);
    co_return Seen::kNothing;
  }
  Seen best = Seen::kNothing;
  for (const SocketAddr& address : *addresses) {
    if (addresses_++ >= kMaxAddresses || loop_.now() >= deadline) break;
    auto answer = co_await exchange(loop_, address, encode(query_for(loop_, name_, Type::kTxt)),
                                    std::min(deadline, loop_.now() + kPatience));
    if (!answer) {
      add_to_report(fmt::format("{}: {}", text, answer.error().message));
      continue;
    }
    best = judge(answer->message, fmt::format("{} ({})", text, address.to_string()));
    if (best == Seen::kOther || alias_) break;
  }
  co_return best;
}

Look::Seen Look::judge(const Message& answer, const std::string& where) {
  size_t texts = 0;
  for (const Record& record : answer.answers) {
    if (const auto* txt = std::get_if<Txt>(&record.data)) {
      std::string joined;
      for (const std::string& part : txt->strings) joined += part;
      if (joined == value_) return Seen::kValue;
      ++texts;
    }
    const auto* alias = std::get_if<Cname>(&record.data);
    if (alias != nullptr && record.name == name_) alias_ = alias->target;
  }
  const Rcode code = answer.header.rcode;
  if (code != Rcode::kNoError) {
    add_to_report(fmt::format("{} answers {}", where, to_string(code)));
    // A server that fails has no value, and does not lack it either.
    return code == Rcode::kNameError ? Seen::kOther : Seen::kNothing;
  }
  add_to_report(texts == 0 ? fmt::format("{} has no TXT record", where)
                           : fmt::format("{} has {} other TXT values", where, texts));
  return Seen::kOther;
}

// The closest ancestor that has NS records.
net::Task<std::optional<Delegation>> Look::find_zone(TimePoint deadline) {
  for (Name apex = name_; !apex.is_root(); apex = apex.parent()) {
    auto answer = co_await ask_resolver(apex, deadline);
    if (!answer) {
      add_to_report(answer.error().message);
      co_return std::nullopt;
    }
    const Rcode code = answer->header.rcode;
    if (code != Rcode::kNoError && code != Rcode::kNameError) {
      add_to_report(fmt::format(
          "resolvers get no name servers for {} ({}): those that its parent zone names do not answer "
          "for it; check that UDP and TCP port 53 of them is open",
          apex.to_string(), to_string(code)));
      co_return std::nullopt;
    }
    Delegation zone{.apex = apex, .servers = {}};
    for (const Record& record : answer->answers) {
      const auto* ns = std::get_if<Ns>(&record.data);
      if (ns != nullptr && record.name == apex && zone.servers.size() < kMaxServers)
        zone.servers.push_back(ns->server);
    }
    if (!zone.servers.empty()) co_return zone;
  }
  add_to_report(fmt::format("no name server is known for {}", name_.to_string()));
  co_return std::nullopt;
}

net::Task<Result<Message>> Look::ask_resolver(Name name, TimePoint deadline) {
  std::vector<SocketAddr> resolvers = options_.resolvers;
  if (resolvers.empty()) resolvers = net::resolver_servers(loop_);
  resolvers.resize(std::min(resolvers.size(), kMaxResolvers));
  Error last{ErrorCode::kUnavailable, "this machine has no resolver"};
  for (const SocketAddr& resolver : resolvers) {
    Message query = query_for(loop_, name, Type::kNs);
    query.header.recursion_desired = true;
    auto answer =
        co_await exchange(loop_, resolver, encode(query), std::min(deadline, loop_.now() + kPatience));
    if (answer) co_return std::move(answer->message);
    last = answer.error();
  }
  co_return std::unexpected(last);
}

}  // namespace

net::Task<Result<>> wait_until_visible(net::EventLoop& loop, Name name, std::string value,
                                       VisibilityOptions options) {
  const TimePoint begun = loop.now();
  const TimePoint deadline = begun + options.timeout;
  while (true) {
    Look look(loop, options, name, value);
    const bool is_visible = co_await look.run(deadline);
    if (is_visible) co_return Result<>();
    if (loop.now() + options.interval >= deadline) {
      const auto waited = std::chrono::duration_cast<std::chrono::seconds>(loop.now() - begun);
      co_return fail(ErrorCode::kTimeout, "the TXT value of {} is not visible after {} s: {}",
                     name.to_string(), waited.count(), look.report());
    }
    co_await net::sleep_for(loop, options.interval);
  }
}

}  // namespace culvert::dns
