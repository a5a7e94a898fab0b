#pragma once
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/key.h"
#include "base/result.h"
#include "hubapi/token.h"
#include "net/byte_stream.h"
#include "net/event_loop.h"

namespace culvert::hubapi {

// A hub that takes longer to connect is as good as down while another URL may answer.
constexpr Duration kHubConnectTime = std::chrono::seconds(5);
// The hub's own deadline for a request is 10 s.
constexpr Duration kHubExchangeTime = std::chrono::seconds(15);

// A TLS connection to the holder of the hub key at `url`. kUnauthorized and kNotFound: another hub or server
// answers there, the message says so.
net::Task<Result<std::unique_ptr<net::ByteStream>>> connect_to_hub(net::EventLoop& loop, HubUrl url,
                                                                   PublicKey hub_key, TimePoint deadline);
// Whether connect_to_hub() met another hub or server.
bool met_another_hub(const Error& error);
// What requests have as their Host.
std::string host_field(const HubUrl& url);

}  // namespace culvert::hubapi
