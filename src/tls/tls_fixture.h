#pragma once
#include <gmock/gmock.h>

#include <memory>

#include "net/testing.h"
#include "tls/stream.h"
#include "tls/tls.h"

// Keys, certificates and handshakes over loopback, for the tests of this module.
namespace culvert::tls {

using namespace net::testing;
using ::testing::HasSubstr;
using StreamPtr = std::unique_ptr<net::ByteStream>;

inline SecretKey test_key(uint8_t fill) {
  const Bytes seed(SecretKey::kSize, fill);
  return SecretKey::from_seed(seed).value();
}

inline std::unique_ptr<InternalCa> new_ca(InternalCa::Pem* out = nullptr) {
  const InternalCa::Pem pem = InternalCa::create("Culvert test CA", unix_now());
  if (out) *out = pem;
  return InternalCa::load(pem).value();
}

struct Outcome {
  Result<StreamPtr> server = fail(ErrorCode::kIo, "not run");
  Result<StreamPtr> client = fail(ErrorCode::kIo, "not run");
};

// Both handshakes, at once on one loop.
inline Outcome shake(net::EventLoop& loop, StreamPtr server, StreamPtr client, IdentityPtr identity,
                     std::string name, ClientTrust trust, Bytes received = {},
                     std::vector<std::string> alpn = {}) {
  net::TaskGroup tasks(loop);
  std::optional<Result<StreamPtr>> accepted, connected;
  tasks.spawn(keep_result(
      accept(std::move(server), std::move(received), std::move(identity), std::move(alpn), soon()),
      accepted));
  tasks.spawn(keep_result(connect(std::move(client), std::move(name), std::move(trust), soon()), connected));
  run_until(loop, [&] { return tasks.size() == 0; });
  return {.server = std::move(*accepted), .client = std::move(*connected)};
}

inline Outcome shake(net::EventLoop& loop, IdentityPtr identity, std::string name, ClientTrust trust) {
  TcpPair tcp(loop);
  return shake(loop, std::move(tcp.server), std::move(tcp.client), std::move(identity), std::move(name),
               std::move(trust));
}

inline ClientTrust roots(const std::string& pem) { return {.pinned_key = std::nullopt, .root_pem = pem}; }

inline ClientTrust pinned(const SecretKey& key) { return {.pinned_key = key.public_key(), .root_pem = {}}; }

inline IdentityPtr self_signed(const SecretKey& key) {
  return self_signed_identity(key, key.public_key().tls_name(), unix_now()).value();
}

// An established connection for tests about what follows.
struct TlsPair {
  explicit TlsPair(net::EventLoop& loop) {
    const SecretKey key = test_key(1);
    auto outcome = shake(loop, self_signed(key), key.public_key().tls_name(), pinned(key));
    client = std::move(outcome.client).value();
    server = std::move(outcome.server).value();
  }

  StreamPtr client, server;
};

inline std::string read_text(net::EventLoop& loop, net::ByteStream& stream) {
  Bytes buffer(1000);
  const auto got = run_task(loop, read_some(stream, buffer, soon()));
  return got ? std::string(as_text(ByteView(buffer).first(*got))) : got.error().message;
}

}  // namespace culvert::tls
