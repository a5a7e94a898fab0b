// A plain user of endpoint::Endpoint for tests beside real iroh: an echo server and its client. One line for
// each event on standard output, for the test to read; kUsage has them.
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "endpoint/endpoint.h"
#include "net/event_loop.h"
#include "net/signals.h"
#include "paths.h"

using namespace culvert;
using namespace std::chrono_literals;

namespace {

constexpr const char* kUsage =
    R"(interop_peer serve    --alpn A[,A] [--x509-alpn A[,A] --certificate FILE --certificate-key FILE] COMMON
interop_peer connect  --alpn A (--id KEY | --name NAME --root FILE) [--addr IP:PORT[,IP:PORT]]
                      [--bytes N] [--datagrams N] [--pings N] [--rebind] COMMON
interop_peer discover --discover IP:PORT --root FILE COMMON
COMMON: [--bind IP:PORT] [--seed HEX] [--relay-path IP:PORT] [--candidates IP:PORT,...] [--discover IP:PORT --root FILE]

--x509-alpn are protocols of clients without a key; all files are DER. --name is dialled with X.509.
--relay-path is the UDP address that is a relay to this endpoint, --candidates its own addresses for NAT traversal.
--discover asks that server's address discovery (iroh's) for one candidate more.
Prints, beside errors:
  ID KEY, ADDR IP:PORT                 this endpoint
  ACCEPTED|CONNECTED KEY ALPN          KEY is - for a peer without a key
  MULTIPATH yes|no                     whether the peer has it too
  PATH ID open|moved|abandoned IP:PORT each path that may carry data, with the peer's address
  OBSERVED IP:PORT                     where the peer sees this endpoint
  ECHO N, DATAGRAMS N max N, PING N    what the client did; PINGS N, SLOWEST MS at the end of the pings
  STREAM ..., CLOSED ..., OK, FAILED)";

constexpr auto kPatience = 30s;
constexpr size_t kMaxFile = 1024 * 1024;
// iroh's address discovery.
constexpr const char* kDiscoveryAlpn = "/iroh-qad/0";
constexpr endpoint::AppCode kDiscoveryFinished = 1;
constexpr auto kPingInterval = 100ms;

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("{}\n", fmt::format(format, std::forward<Args>(args)...));
  std::fflush(stdout);
}

using Options = std::map<std::string, std::string>;

std::string option(const Options& options, const std::string& name, std::string otherwise = {}) {
  auto found = options.find(name);
  return found == options.end() ? otherwise : found->second;
}

const char* name_of(endpoint::CloseReason::Kind kind) {
  using Kind = endpoint::CloseReason::Kind;
  switch (kind) {
    case Kind::kLocal:
      return "local";
    case Kind::kApplication:
      return "application";
    case Kind::kTransport:
      return "transport";
    case Kind::kIdleTimeout:
      return "idle";
    case Kind::kStatelessReset:
      return "stateless-reset";
    case Kind::kHandshake:
      return "handshake";
  }
  return "unknown";
}

struct Program {
  net::EventLoop loop;
  net::TaskGroup tasks{loop};
  std::unique_ptr<endpoint::Endpoint> endpoint;
  Options options;
  std::vector<std::string> served;  // protocols
  std::optional<SocketAddr> relay;
  std::vector<SocketAddr> candidates;
  bool stopping = false;
  int status = 1;
};

std::string id_of(const endpoint::Connection& connection) {
  return connection.remote_id() ? connection.remote_id()->to_string() : "-";
}

net::Task<> keep_paths(Program& program, endpoint::ConnectionPtr connection, bool is_client) {
  PathKeeper keeper(program.loop, connection,
                    {.is_client = is_client,
                     .relay = program.relay,
                     .candidates = program.candidates,
                     .say = [](const std::string& line) { say("{}", line); }});
  co_await keeper.run();
}

net::Task<> echo_stream(Program& program, endpoint::StreamPtr stream) {
  Bytes buffer(64 * 1024);
  size_t total = 0;
  for (;;) {
    Result<size_t> count =
        co_await endpoint::read_some(program.loop, stream, buffer, monotonic_now() + kPatience);
    if (!count) {
      say("STREAM {} {}", to_string(count.error().code), count.error().message);
      co_return;
    }
    if (*count == 0) break;
    total += *count;
    Result<> written = co_await endpoint::write_all(program.loop, stream, ByteView(buffer).first(*count),
                                                    monotonic_now() + kPatience);
    if (!written) {
      say("STREAM {} {}", to_string(written.error().code), written.error().message);
      co_return;
    }
  }
  stream->finish();
  say("STREAM echoed {}", total);
}

net::Task<> echo_streams(Program& program, endpoint::ConnectionPtr connection) {
  for (;;) {
    Result<endpoint::StreamPtr> stream = co_await connection->accept_bidi();
    if (!stream) co_return;
    program.tasks.spawn(echo_stream(program, *stream));
  }
}

net::Task<> echo_datagrams(endpoint::ConnectionPtr connection) {
  for (;;) {
    Result<Bytes> datagram = co_await connection->receive_datagram();
    if (!datagram) co_return;
    (void)connection->send_datagram(*datagram);
  }
}

net::Task<> say_close(endpoint::ConnectionPtr connection) {
  endpoint::CloseReason reason = co_await connection->closed();
  say("CLOSED {} {:#x} {}", name_of(reason.kind), reason.code, reason.message);
}

net::Task<> serve(Program& program, std::string alpn) {
  for (;;) {
    Result<endpoint::ConnectionPtr> connection = co_await program.endpoint->accept(alpn);
    if (!connection) break;
    say("ACCEPTED {} {}", id_of(**connection), (*connection)->alpn());
    program.tasks.spawn(echo_streams(program, *connection));
    program.tasks.spawn(echo_datagrams(*connection));
    program.tasks.spawn(keep_paths(program, *connection, false));
    program.tasks.spawn(say_close(*connection));
  }
  program.status = 0;
}

net::Task<> write_pattern(Program& program, endpoint::StreamPtr stream, size_t size) {
  Bytes block(16 * 1024);
  for (size_t at = 0; at < size; at += block.size()) {
    size_t count = std::min(block.size(), size - at);
    for (size_t i = 0; i < count; ++i) block[i] = static_cast<uint8_t>((at + i) * 31 >> 4);
    Result<> written = co_await endpoint::write_all(program.loop, stream, ByteView(block).first(count),
                                                    monotonic_now() + kPatience);
    if (!written) {
      say("ERROR write {}", written.error().message);
      co_return;
    }
  }
  stream->finish();
}

net::Task<bool> echo_bytes(Program& program, endpoint::ConnectionPtr connection, size_t size) {
  Result<endpoint::StreamPtr> opened = co_await connection->open_bidi();
  if (!opened) {
    say("ERROR open {}", opened.error().message);
    co_return false;
  }
  endpoint::StreamPtr stream = *opened;
  program.tasks.spawn(write_pattern(program, stream, size));
  Bytes buffer(64 * 1024);
  size_t at = 0;
  for (;;) {
    Result<size_t> count =
        co_await endpoint::read_some(program.loop, stream, buffer, monotonic_now() + kPatience);
    if (!count) {
      say("ERROR read after {}: {}", at, count.error().message);
      co_return false;
    }
    if (*count == 0) break;
    for (size_t i = 0; i < *count; ++i, ++at) {
      if (buffer[i] == static_cast<uint8_t>(at * 31 >> 4)) continue;
      say("ERROR byte {} differs", at);
      co_return false;
    }
  }
  say("ECHO {}", at);
  co_return at == size;
}

net::Task<bool> echo_some_datagrams(Program& program, endpoint::ConnectionPtr connection, size_t count) {
  size_t echoed = 0;
  // One at a time: a lost one is sent again, so the number that comes back says that datagrams work, not
  // luck.
  for (size_t number = 0; number < count; ++number) {
    std::string text = fmt::format("datagram {}", number);
    Result<> sent = connection->send_datagram(as_bytes(text));
    if (!sent) {
      say("ERROR datagram {}", sent.error().message);
      co_return false;
    }
    Result<Bytes> answer = co_await connection->receive_datagram();
    if (!answer) {
      say("ERROR datagram {}", answer.error().message);
      co_return false;
    }
    if (as_text(*answer) == text) ++echoed;
    co_await net::sleep_for(program.loop, 1ms);
  }
  say("DATAGRAMS {} max {}", echoed, connection->max_datagram_size());
  co_return echoed == count;
}

// Small messages to and fro on one stream; half-way the socket is replaced when --rebind was given.
net::Task<bool> ping(Program& program, endpoint::ConnectionPtr connection, size_t count) {
  Result<endpoint::StreamPtr> opened = co_await connection->open_bidi();
  if (!opened) {
    say("ERROR open {}", opened.error().message);
    co_return false;
  }
  endpoint::StreamPtr stream = *opened;
  Bytes buffer(100);
  Duration slowest{};
  size_t number = 0;
  for (; number < count && !program.stopping; ++number) {
    TimePoint began = monotonic_now();
    if (number == count / 2 && program.options.contains("rebind")) {
      Result<> rebound = program.endpoint->rebind();
      if (!rebound) {
        say("ERROR rebind {}", rebound.error().message);
        co_return false;
      }
      say("REBOUND {}", program.endpoint->local_addr().to_string());
    }
    std::string text = fmt::format("ping {:05}", number);
    Result<> written =
        co_await endpoint::write_all(program.loop, stream, as_bytes(text), monotonic_now() + kPatience);
    if (!written) {
      say("ERROR ping {}: {}", number, written.error().message);
      co_return false;
    }
    size_t got = 0;
    while (got < text.size()) {
      Result<size_t> read = co_await endpoint::read_some(
          program.loop, stream, MutableBytes(buffer).subspan(got), monotonic_now() + kPatience);
      if (!read) {
        say("ERROR ping {}: {}", number, read.error().message);
        co_return false;
      }
      if (*read == 0) {
        say("ERROR ping {}: the stream ended", number);
        co_return false;
      }
      got += *read;
    }
    if (as_text(ByteView(buffer).first(got)) != text) {
      say("ERROR ping {}: another text came back", number);
      co_return false;
    }
    slowest = std::max(slowest, monotonic_now() - began);
    if (number % 10 == 0) say("PING {}", number);
    co_await net::sleep_for(program.loop, kPingInterval);
  }
  stream->finish();
  say("SLOWEST {}", std::chrono::duration_cast<std::chrono::milliseconds>(slowest).count());
  say("PINGS {}", number);
  co_return true;
}

net::Task<bool> talk(Program& program, endpoint::ConnectionPtr connection) {
  if (program.options.contains("bytes")) {
    bool good = co_await echo_bytes(program, connection, std::stoul(program.options.at("bytes")));
    if (!good) co_return false;
  }
  if (program.options.contains("datagrams")) {
    bool good =
        co_await echo_some_datagrams(program, connection, std::stoul(program.options.at("datagrams")));
    if (!good) co_return false;
  }
  if (program.options.contains("pings")) {
    bool good = co_await ping(program, connection, std::stoul(program.options.at("pings")));
    if (!good) co_return false;
  }
  co_return true;
}

// Asks a server for the address that it sees this endpoint's socket at.
net::Task<Result<SocketAddr>> discover(Program& program, SocketAddr server, Bytes root) {
  quic::X509Server identity{.name = server.ip_text(), .roots = {std::move(root)}};
  Result<endpoint::ConnectionPtr> connection = co_await program.endpoint->connect(
      std::move(identity), {server}, kDiscoveryAlpn, monotonic_now() + kPatience);
  if (!connection) co_return std::unexpected(connection.error());
  while (true) {
    Result<endpoint::PathEvent> event = co_await (*connection)->next_path_event();
    if (!event) co_return std::unexpected(event.error());
    if (event->kind != endpoint::PathEvent::Kind::kObservedAddress) continue;
    (*connection)->close(kDiscoveryFinished, "finished");
    say("OBSERVED {}", event->address.to_string());
    co_return event->address;
  }
}

struct Target {
  std::optional<endpoint::EndpointAddr> endpoint;
  quic::X509Server server;
  std::vector<SocketAddr> addrs;
};

net::Task<> connect(Program& program, Target target, std::string alpn) {
  Result<endpoint::ConnectionPtr> connection = fail(ErrorCode::kInvalid, "no target");
  TimePoint deadline = monotonic_now() + kPatience;
  if (target.endpoint) {
    connection = co_await program.endpoint->connect(std::move(*target.endpoint), std::move(alpn), deadline);
  } else {
    connection = co_await program.endpoint->connect(std::move(target.server), std::move(target.addrs),
                                                    std::move(alpn), deadline);
  }
  if (!connection) {
    say("ERROR connect {} {}", to_string(connection.error().code), connection.error().message);
  } else {
    say("CONNECTED {} {}", id_of(**connection), (*connection)->alpn());
    program.tasks.spawn(say_close(*connection));
    program.tasks.spawn(keep_paths(program, *connection, true));
    bool good = co_await talk(program, *connection);
    say("{}", good ? "OK" : "FAILED");
    program.status = good ? 0 : 1;
    (*connection)->close(0, "done");
    // The close must leave before the socket does.
    co_await net::sleep_for(program.loop, 100ms);
  }
  program.endpoint->close(0, "done");
  program.loop.stop();
}

net::Task<> end_on_signal(Program& program) {
  net::StopSignals signals(program.loop);
  co_await signals.next();
  program.stopping = true;
  // A client ends its pings by itself, and then the loop.
  if (program.options.contains("pings")) co_await net::sleep_for(program.loop, 5s);
  program.endpoint->close(0, "done");
  co_await net::sleep_for(program.loop, 100ms);
  program.status = 0;
  program.loop.stop();
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    size_t comma = std::min(text.find(','), text.size());
    parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

Result<std::vector<SocketAddr>> parse_addresses(const std::string& text) {
  std::vector<SocketAddr> addresses;
  for (const std::string& part : split(text)) {
    Result<SocketAddr> address = SocketAddr::parse(part);
    if (!address) return std::unexpected(address.error());
    addresses.push_back(*address);
  }
  return addresses;
}

Result<Target> parse_target(const Program& program) {
  Result<std::vector<SocketAddr>> addrs = parse_addresses(option(program.options, "addr"));
  if (!addrs) return std::unexpected(addrs.error());
  if (program.relay) addrs->push_back(*program.relay);
  if (program.options.contains("name")) {
    Result<Bytes> root = read_file(option(program.options, "root"), kMaxFile);
    if (!root) return std::unexpected(root.error());
    return Target{.endpoint = {},
                  .server = {.name = program.options.at("name"), .roots = {std::move(*root)}},
                  .addrs = std::move(*addrs)};
  }
  Result<PublicKey> id = PublicKey::parse(option(program.options, "id"));
  if (!id) return std::unexpected(id.error());
  endpoint::EndpointAddr addr{.id = *id, .relay_urls = {}, .ip_addrs = std::move(*addrs)};
  return Target{.endpoint = std::move(addr), .server = {}, .addrs = {}};
}

Result<> parse_paths(Program& program) {
  Result<std::vector<SocketAddr>> relay = parse_addresses(option(program.options, "relay-path"));
  if (!relay) return std::unexpected(relay.error());
  if (!relay->empty()) program.relay = relay->front();
  Result<std::vector<SocketAddr>> candidates = parse_addresses(option(program.options, "candidates"));
  if (!candidates) return std::unexpected(candidates.error());
  program.candidates = std::move(*candidates);
  return {};
}

// The protocols of clients without a key.
Result<std::vector<quic::Protocol>> parse_x509(const Options& options) {
  Result<Bytes> certificate = read_file(option(options, "certificate"), kMaxFile);
  if (!certificate) return std::unexpected(certificate.error());
  Result<Bytes> key = read_file(option(options, "certificate-key"), kMaxFile);
  if (!key) return std::unexpected(key.error());
  Result<quic::X509Identity> identity =
      quic::X509Identity::from_der({std::move(*certificate)}, std::move(*key));
  if (!identity) return std::unexpected(identity.error());
  std::vector<quic::Protocol> protocols;
  for (const std::string& alpn : split(options.at("x509-alpn"))) {
    quic::Protocol& protocol = protocols.emplace_back(alpn);
    protocol.certificates = [identity = *identity](std::string_view) { return identity; };
    protocol.limits.send_observed_addresses = true;
  }
  return protocols;
}

// What the mode does, once the endpoint is bound.
net::Task<> act(Program& program, std::string mode, std::string alpn) {
  if (program.options.contains("discover")) {
    Result<SocketAddr> server = SocketAddr::parse(program.options.at("discover"));
    Result<Bytes> root = read_file(option(program.options, "root"), kMaxFile);
    Result<SocketAddr> observed = fail(ErrorCode::kInvalid, "--discover or --root is invalid");
    if (server && root) observed = co_await discover(program, *server, std::move(*root));
    if (observed) {
      program.candidates.push_back(*observed);
    } else {
      say("ERROR discover {}", observed.error().message);
    }
    program.status = observed ? 0 : 1;
  }
  if (mode == "serve") {
    for (const std::string& each : program.served) program.tasks.spawn(serve(program, each));
    say("READY");
    co_return;
  }
  if (mode == "connect") {
    Result<Target> target = parse_target(program);
    if (target) {
      co_await connect(program, std::move(*target), std::move(alpn));
      co_return;
    }
    say("ERROR target {}", target.error().message);
    program.status = 2;
  }
  // The close must leave before the socket does.
  co_await net::sleep_for(program.loop, 100ms);
  program.endpoint->close(0, "done");
  program.loop.stop();
}

int run(Program& program, const std::string& mode) {
  SystemRandom random;
  SecretKey key = SecretKey::generate(random);
  if (program.options.contains("seed")) {
    Result<Bytes> seed = from_hex(program.options.at("seed"));
    if (!seed) return say("ERROR seed {}", seed.error().message), 2;
    Result<SecretKey> given = SecretKey::from_seed(*seed);
    if (!given) return say("ERROR seed {}", given.error().message), 2;
    key = *given;
  }
  Result<SocketAddr> bind = SocketAddr::parse(option(program.options, "bind", "127.0.0.1:0"));
  if (!bind) return say("ERROR bind {}", bind.error().message), 2;
  std::string alpn = option(program.options, "alpn", "culvert-interop/0");

  endpoint::Config config{.key = key, .bind = *bind};
  if (mode == "serve") {
    for (const std::string& each : split(alpn)) config.protocols.push_back({.alpn = each});
  }
  config.limits.receive_observed_addresses = program.options.contains("discover");
  if (program.options.contains("x509-alpn")) {
    Result<std::vector<quic::Protocol>> protocols = parse_x509(program.options);
    if (!protocols) return say("ERROR x509 {}", protocols.error().message), 2;
    std::ranges::move(*protocols, std::back_inserter(config.protocols));
  }
  for (const quic::Protocol& protocol : config.protocols) program.served.push_back(protocol.alpn);
  Result<> paths = parse_paths(program);
  if (!paths) return say("ERROR paths {}", paths.error().message), 2;
  Result<std::unique_ptr<endpoint::Endpoint>> bound = endpoint::Endpoint::bind(program.loop, config);
  if (!bound) return say("ERROR bind {}", bound.error().message), 2;
  program.endpoint = std::move(*bound);
  say("ID {}", program.endpoint->id().to_string());
  say("ADDR {}", program.endpoint->local_addr().to_string());

  program.tasks.spawn(act(program, mode, alpn));
  program.tasks.spawn(end_on_signal(program));
  program.loop.run();
  return program.status;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::vector<std::string> modes = {"serve", "connect", "discover"};
  if (arguments.empty() || std::ranges::find(modes, arguments[0]) == modes.end()) {
    fmt::print("{}\n", kUsage);
    return arguments.empty() || arguments[0] != "--help" ? 2 : 0;
  }
  Program program;
  for (size_t i = 1; i < arguments.size(); ++i) {
    std::string name = arguments[i].substr(2);
    bool is_flag = i + 1 == arguments.size() || arguments[i + 1].starts_with("--");
    program.options[name] = is_flag ? "" : arguments[++i];
  }
  return run(program, arguments[0]);
}
