#include "hub/claims.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <functional>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/invite_record.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

using hubapi::DeclaredPort;
using hubapi::PortVerdict;
using route::PublicPort;

std::optional<PublicPort> parse_port(std::string_view text) {
  const auto match = route::Match::parse(text);
  return match && match->port() ? std::optional(*match->port()) : std::nullopt;
}

Record record_of(const PublicPort& port, const Claims::Claim* claim) {
  Record record{.kind = std::string(Claims::kKind), .key = port.text()};
  if (claim == nullptr) return record;
  json::object body{{"invite_id", invite_key(claim->invite)}, {"service", claim->service}};
  if (claim->idle_since) body["idle_since"] = claim->idle_since->time_since_epoch().count();
  record.body = json::serialize(body);
  return record;
}

Result<Claims::Claim> read_claim(std::string_view text) {
  constexpr std::string_view kWhat = "the claim's record";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  Claims::Claim claim{.invite = reader.bytes<std::tuple_size_v<InviteId>>("invite_id"),
                      .service = std::string(reader.text("service"))};
  if (reader.has("idle_since")) claim.idle_since = reader.time("idle_since");
  if (reader.error()) return std::unexpected(*reader.error());
  return claim;
}

// The first of the ports that the operator does not let the invite have, whoever has it.
std::optional<PublicPort> not_granted(const Invite& invite, const PublicPort& ports, const PortRules& rules) {
  for (size_t i = 0; i < ports.size(); ++i) {
    const PublicPort port = ports.at(i);
    const bool is_open = rules.allow_privileged || port.number >= kFirstUnprivilegedPort;
    const bool is_granted =
        invite.ports.empty() ? is_open : std::ranges::any_of(invite.ports, [&](const PortRange& range) {
          return range.contains(port.number);
        });
    if (!is_granted) return port;
  }
  return std::nullopt;
}

// What of a sorted container overlaps with `ports`. A record that is damaged, or that another is to replace,
// may overlap with its neighbours.
template <class Container, class PortOf>
std::vector<PublicPort> overlapping(const Container& all, const PublicPort& ports, PortOf port_of) {
  // No range that begins before reaches as far.
  constexpr unsigned kReach = PublicPort::kMostPorts - 1;
  const auto start = static_cast<uint16_t>(ports.number > kReach ? ports.number - kReach : 0);
  std::vector<PublicPort> found;
  for (auto at = all.lower_bound(PublicPort{ports.protocol, start}); at != all.end(); ++at) {
    const PublicPort& each = port_of(*at);
    if (each.protocol != ports.protocol || each.number > ports.last()) break;
    if (each.overlaps(ports)) found.push_back(each);
  }
  return found;
}
constexpr auto kKey = [](const auto& entry) -> const PublicPort& { return entry.first; };

// For people: the first of `ports` that `other` has as well.
std::string common_port(const PublicPort& ports, const PublicPort& other) {
  if (!ports.is_range()) return ports.text();
  return fmt::format("{} of {}", PublicPort{ports.protocol, std::max(ports.number, other.number)}.text(),
                     ports.text());
}

}  // namespace

// One declaration, worked out on a copy of its tenant's claims.
class Claims::Judge {
 public:
  Judge(const Claims& claims, const Invite& invite, const EndpointId& agent,
        std::span<const DeclaredPort> declared, const TenantRules& rules, const Leases& leases, TimePoint now)
      : claims_(claims),
        invite_(invite),
        agent_(agent),
        declared_(declared),
        rules_(rules),
        limits_(rules.limits.with(invite.quotas)),
        leases_(leases),
        now_(now) {
    for (const PublicPort& port : claims.ports_of(invite.id)) mine_.emplace(port, claims.claims_.at(port));
  }

  Judgement run() {
    Judgement judgement;
    judgement.verdicts.resize(declared_.size(),
                              {.protocol = {}, .name = {}, .listen_port = 0, .accepted = false});
    // What names a port first: it must not depend on the order whether another service gets that one.
    for (const bool names_port : {true, false}) {
      for (size_t i = 0; i < declared_.size(); ++i) {
        if ((declared_[i].listen_port != 0) == names_port) judgement.verdicts[i] = judge(declared_[i]);
      }
    }
    judgement.records = changes();
    for (const Record& record : judgement.records) touch(record.key, judgement.touches);
    judgement.touches.push_back(invite_key(invite_.id));
    if (has_picked_) judgement.touches.emplace_back("picked port");
    return judgement;
  }

 private:
  // Each port: a range and a port of it must not be claimed in one commit.
  static void touch(const std::string& key, std::vector<std::string>& touches) {
    const auto ports = parse_port(key);
    for (size_t i = 0; ports && i < ports->size(); ++i) touches.push_back(ports->at(i).text());
  }

  PortVerdict judge(const DeclaredPort& wanted) {
    PortVerdict verdict{.protocol = wanted.protocol,
                        .name = wanted.name,
                        .listen_port = wanted.listen_port,
                        .accepted = false,
                        .more_ports = wanted.more_ports};
    const auto refuse = [&verdict](std::string reason) {
      verdict.reason = std::move(reason);
      return verdict;
    };
    const auto current = port_of(wanted.protocol, wanted.name);
    PublicPort port = wanted.ports();
    if (wanted.listen_port == 0 && current) {
      port = current->at(0);  // one port, also where it had a range
    } else if (wanted.listen_port == 0) {
      const auto picked = pick(wanted);
      if (!picked) return refuse("no port is free of those that the hub picks from; name one");
      port = *picked;
      has_picked_ = true;
    }
    if (auto reason = why_not(port)) return refuse(std::move(*reason));
    if (invite_.suspended && port != current)
      return refuse(fmt::format(
          "the operator has suspended the tenant: it keeps the ports that it has, and {} is none of them",
          port.text()));
    if (current && *current != port) {
      if (const auto rival = leases_.rival(*current, agent_, now_)) {
        return wait_for(
            *rival,
            refuse(fmt::format("conflict with agent {}, which is connected and serves {} at "
                               "{}. Stop that agent, or declare its port",
                               rival->agent.short_text(), culvert::quoted(wanted.name), current->text())));
      }
    }
    std::vector<PublicPort> occupants = overlapping(mine_, port, kKey);
    if (current) std::erase(occupants, *current);
    for (const PublicPort& occupant : occupants) {
      const std::string& other = mine_.at(occupant).service;
      if (taken_.contains(occupant))
        return refuse(fmt::format("{} is given to {} of the same declaration", common_port(port, occupant),
                                  culvert::quoted(other)));
      if (const auto rival = leases_.rival(occupant, agent_, now_)) {
        return wait_for(*rival,
                        refuse(fmt::format("{} is claimed by {}, which agent {} serves; choose another port",
                                           common_port(port, occupant), culvert::quoted(other),
                                           rival->agent.short_text())));
      }
    }
    if (!make_room(port, current)) {
      if (current) mine_.erase(*current);  // of a higher quota
      if (port.is_range()) {
        return refuse(fmt::format(
            "{} has {} ports, and the tenant may claim {} {} ports with those that it has; choose a smaller "
            "range, remove a service, or ask the hub's operator for a higher quota",
            port.text(), port.size(), limits_.ports(port.protocol), route::to_string(port.protocol)));
      }
      return refuse(
          fmt::format("the tenant may claim {} {} ports and has as many; remove a service, or ask the "
                      "hub's operator for a higher quota",
                      limits_.ports(port.protocol), route::to_string(port.protocol)));
    }
    if (current && *current != port) mine_.erase(*current);
    for (const PublicPort& occupant : occupants) mine_.erase(occupant);
    if (!current || *current != port)
      mine_.insert_or_assign(port, Claim{.invite = invite_.id, .service = wanted.name});
    taken_.insert(port);
    verdict.listen_port = port.number;
    verdict.accepted = true;
    return verdict;
  }

  PortVerdict wait_for(const Leases::Rival& rival, PortVerdict refused) const {
    // One second later than the other may be found silent.
    refused.retry_after =
        std::chrono::ceil<std::chrono::seconds>(rival.lives_until - now_) + std::chrono::seconds(1);
    return refused;
  }

  std::optional<PublicPort> port_of(route::PortProtocol protocol, std::string_view service) const {
    for (const auto& [port, claim] : mine_) {
      if (port.protocol == protocol && claim.service == service) return port;
    }
    return std::nullopt;
  }

  // Why the tenant may not have the port, whoever has it; nullopt: it may.
  std::optional<std::string> why_not(const PublicPort& port) const {
    const auto own = overlapping(rules_.ports.own, port, std::identity());
    if (!own.empty())
      return fmt::format("the node itself uses {}; choose another port", common_port(port, own.front()));
    const auto missing = not_granted(invite_, port, rules_.ports);
    if (missing && !invite_.ports.empty()) {
      std::string granted;
      for (const PortRange& range : invite_.ports) granted += (granted.empty() ? "" : ", ") + range.text();
      return fmt::format("the invite does not grant {}; it grants {}", common_port(port, *missing), granted);
    }
    if (missing) {
      return fmt::format(
          "{} is below {}; choose another port, or ask the hub's operator to grant it to the invite",
          common_port(port, *missing), kFirstUnprivilegedPort);
    }
    const auto damaged = overlapping(claims_.damaged_, port, std::identity());
    if (!damaged.empty())
      return fmt::format("the record of {} is damaged in the hub's database; choose another port",
                         common_port(port, damaged.front()));
    for (const PublicPort& claimed : overlapping(claims_.claims_, port, kKey)) {
      if (claims_.claims_.at(claimed).invite != invite_.id)
        return fmt::format("{} is claimed by another tenant; choose another port",
                           common_port(port, claimed));
    }
    return std::nullopt;
  }

  std::optional<PublicPort> pick(const DeclaredPort& wanted) const {
    std::vector<PortRange> ranges = invite_.ports;
    if (ranges.empty()) ranges.push_back(rules_.ports.picked);
    size_t all = 0;
    for (const PortRange& range : ranges) all += range.size();
    // Each service begins elsewhere, so that those who pick at the same time do not meet.
    Bytes seed(invite_.id.begin(), invite_.id.end());
    seed.insert(seed.end(), wanted.name.begin(), wanted.name.end());
    const Sha256 hash = sha256(seed);
    size_t start = 0;
    for (size_t i = 0; i < 4; ++i) start = start << 8 | hash[i];
    for (size_t i = 0; i < all; ++i) {
      size_t offset = (start + i) % all;
      auto range = ranges.begin();
      while (offset >= range->size()) offset -= (range++)->size();
      const PublicPort port{wanted.protocol, static_cast<uint16_t>(range->first + offset)};
      const bool is_free =
          overlapping(mine_, port, kKey).empty() && overlapping(claims_.claims_, port, kKey).empty();
      if (is_free && !why_not(port)) return port;
    }
    return std::nullopt;
  }

  // Whether the tenant may have `port` besides what it uses; ends the oldest reserved claims that would be
  // too many. `current` is what the service gives back for it.
  bool make_room(const PublicPort& port, const std::optional<PublicPort>& current) {
    const size_t limit = limits_.ports(port.protocol);
    size_t used = 0, expected = 0;
    std::vector<std::pair<UnixTime, PublicPort>> reserved;
    for (const auto& [each, claim] : mine_) {
      if (each.protocol != port.protocol || each.overlaps(port) || (current && each == *current)) continue;
      if (taken_.contains(each) || leases_.is_held(each, agent_)) {
        used += each.size();
      } else if (is_declared(each.protocol, claim.service)) {
        expected += each.size();  // to be judged later
      } else {
        reserved.emplace_back(claim.idle_since.value_or(UnixTime::max()), each);
      }
    }
    // What is new takes no port from what the tenant has already.
    const bool is_more = !current || current->size() < port.size();
    if (used + (is_more ? expected : 0) + port.size() > limit) return false;
    std::ranges::sort(reserved);
    size_t all = used + expected + port.size();
    for (const auto& [since, each] : reserved) all += each.size();
    for (const auto& [since, each] : reserved) {
      if (all <= limit) break;
      mine_.erase(each);
      all -= each.size();
    }
    return true;
  }

  bool is_declared(route::PortProtocol protocol, std::string_view service) const {
    return std::ranges::any_of(declared_, [&](const DeclaredPort& each) {
      return each.protocol == protocol && each.name == service;
    });
  }

  std::vector<Record> changes() const {
    std::vector<Record> records;
    for (const PublicPort& port : claims_.ports_of(invite_.id)) {
      if (!mine_.contains(port)) records.push_back(record_of(port, nullptr));
    }
    for (const auto& [port, claim] : mine_) {
      const Claim* before = claims_.find(port);
      if (before == nullptr || before->service != claim.service) records.push_back(record_of(port, &claim));
    }
    return records;
  }

  const Claims& claims_;
  const Invite& invite_;
  const EndpointId& agent_;
  const std::span<const DeclaredPort> declared_;
  const TenantRules& rules_;
  const TenantLimits limits_;
  const Leases& leases_;
  const TimePoint now_;
  ClaimMap mine_;
  std::set<PublicPort> taken_;  // by this declaration
  bool has_picked_ = false;
};

Claims::Judgement Claims::judge(const Invite& invite, const EndpointId& agent,
                                std::span<const DeclaredPort> declared, const TenantRules& rules,
                                const Leases& leases, TimePoint now) const {
  if (declared.empty()) return {};
  return Judge(*this, invite, agent, declared, rules, leases, now).run();
}

std::vector<PublicPort> Claims::lost(const Invite& invite, const TenantRules& rules) const {
  std::vector<PublicPort> out;
  const TenantLimits limits = rules.limits.with(invite.quotas);
  for (const auto protocol : {route::PortProtocol::kTcp, route::PortProtocol::kUdp}) {
    std::vector<PublicPort> kept;
    for (const PublicPort& port : ports_of(invite.id)) {
      if (port.protocol == protocol) (not_granted(invite, port, rules.ports) ? out : kept).push_back(port);
    }
    size_t all = 0;
    for (const PublicPort& port : kept) all += port.size();
    const auto idle_since = [&](const PublicPort& port) {
      return claims_.at(port).idle_since.value_or(UnixTime::max());
    };
    std::ranges::sort(kept, [&](const PublicPort& a, const PublicPort& b) {
      const UnixTime a_since = idle_since(a), b_since = idle_since(b);
      return a_since != b_since ? a_since < b_since : a.number > b.number;
    });
    for (const PublicPort& port : kept) {
      if (all <= limits.ports(protocol)) break;
      out.push_back(port);
      all -= port.size();
    }
  }
  return out;
}

std::vector<AuditEntry> Claims::audit_of(const std::vector<Record>& records, const std::string& actor,
                                         UnixTime wall) const {
  std::vector<AuditEntry> entries;
  for (const Record& record : records) {
    const auto port = parse_port(record.key);
    const Claim* before = port ? find(*port) : nullptr;
    entries.push_back({.at = wall,
                       .actor = actor,
                       .action = record.body ? "claim.take" : "claim.free",
                       .subject = record.key,
                       .before = before == nullptr ? "" : record_of(*port, before).body.value_or(""),
                       .after = record.body.value_or("")});
  }
  return entries;
}

const Claims::Claim* Claims::find(const PublicPort& port) const {
  const auto claim = claims_.find(port);
  return claim == claims_.end() ? nullptr : &claim->second;
}

std::vector<PublicPort> Claims::ports_of(const InviteId& invite) const {
  const auto ports = by_invite_.find(invite);
  return ports == by_invite_.end() ? std::vector<PublicPort>()
                                   : std::vector(ports->second.begin(), ports->second.end());
}

void Claims::apply(const Record& record) {
  const auto port = parse_port(record.key);
  if (!port) return log_error("hub_record_damaged", "kind={} key={}", kKind, culvert::quoted(record.key));
  unstored_.erase(*port);
  damaged_.erase(*port);
  erase(*port);
  to_follow_.insert(*port);
  if (!record.body) return;
  auto claim = read_claim(*record.body);
  if (!claim) {
    log_error("hub_record_damaged", "kind={} key={} reason={}", kKind, record.key,
              culvert::quoted(claim.error().message));
    damaged_.insert(*port);
    return;
  }
  put(*port, std::move(*claim));
}

void Claims::put(const PublicPort& port, Claim claim) {
  by_invite_[claim.invite].insert(port);
  if (claim.idle_since) idle_.emplace(*claim.idle_since, port);
  claims_.emplace(port, std::move(claim));
}

void Claims::erase(const PublicPort& port) {
  const auto claim = claims_.find(port);
  if (claim == claims_.end()) return;
  if (claim->second.idle_since) idle_.erase({*claim->second.idle_since, port});
  const auto ports = by_invite_.find(claim->second.invite);
  ports->second.erase(port);
  if (ports->second.empty()) by_invite_.erase(ports);
  claims_.erase(claim);
}

void Claims::end(const PublicPort& port) {
  if (!claims_.contains(port)) return;
  erase(port);
  unstored_.insert(port);
}

void Claims::end_invite(const InviteId& invite) {
  for (const PublicPort& port : ports_of(invite)) end(port);
}

void Claims::set_idle(const PublicPort& port, bool is_idle, UnixTime wall) {
  const auto found = claims_.find(port);
  if (found == claims_.end() || found->second.idle_since.has_value() == is_idle) return;
  Claim claim = found->second;
  erase(port);
  claim.idle_since = is_idle ? std::optional(wall) : std::nullopt;
  put(port, std::move(claim));
  unstored_.insert(port);
}

void Claims::follow(const std::vector<PublicPort>& ports, const Leases& leases, UnixTime wall) {
  to_follow_.insert(ports.begin(), ports.end());
  for (const PublicPort& port : std::exchange(to_follow_, {})) set_idle(port, !leases.is_held(port), wall);
}

void Claims::expire(UnixTime wall) {
  while (!idle_.empty() && idle_.begin()->first + kReserved <= wall) {
    const PublicPort port = idle_.begin()->second;
    end(port);
  }
}

Batch Claims::unstored() const {
  Batch batch;
  for (const PublicPort& port : unstored_) batch.records.push_back(record_of(port, find(port)));
  return batch;
}

}  // namespace culvert::hub
