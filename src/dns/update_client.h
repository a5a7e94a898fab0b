#pragma once
#include <optional>
#include <vector>

#include "base/host_port.h"
#include "dns/exchange.h"
#include "dns/tsig.h"
#include "dns/txt_publisher.h"

namespace culvert::dns {

struct UpdateOptions {
  HostPort server;                              // the primary server of the zone
  std::optional<TsigKey> key = {};              // without one, updates are not signed
  std::optional<Name> zone = {};                // otherwise the server is asked for it
  uint32_t ttl = 60;                            // seconds, of the records that are put
  Duration timeout = std::chrono::seconds(30);  // for one call in all
};

// Publishes by dynamic updates (RFC 2136), signed with TSIG (RFC 8945). A name that is an alias is refused:
// the value would be out of sight behind it.
class UpdateClient final : public TxtPublisher {
 public:
  // Addresses of the server that are tried in turn.
  static constexpr size_t kMaxAddresses = 4;

  UpdateClient(net::EventLoop& loop, UpdateOptions options) : loop_(loop), options_(std::move(options)) {}

  // Errors name server, zone and what to do: kUnauthorized (key, signature, clock, or policy of the server),
  // kInvalid (zone or name), kUnavailable, kTimeout.
  net::Task<Result<>> put(Name name, std::string value) override;
  net::Task<Result<>> remove(Name name, std::string value) override;

 private:
  net::Task<Result<>> update(Record change);
  // Sends it to the server's addresses until one answers; signed and checked where there is a key.
  net::Task<Result<Answer>> ask(Message query, TimePoint deadline);
  net::Task<Result<Answer>> ask_at(SocketAddr address, Message query, TimePoint deadline);
  net::Task<Result<Name>> find_zone(Name name, TimePoint deadline);
  Error with_server(const Error& error) const;
  Result<> judge(const Message& answer, const Name& zone_name, const Name& name) const;
  uint16_t random_id() { return static_cast<uint16_t>(loop_.random().u64()); }

  net::EventLoop& loop_;
  const UpdateOptions options_;
};

}  // namespace culvert::dns
