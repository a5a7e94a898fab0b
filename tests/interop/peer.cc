// A plain user of endpoint::Endpoint for tests beside real iroh: an echo server and its client. One line for
// each event on standard output, for the test to read.
//
//   interop_peer serve --bind IP:PORT --alpn A [--seed HEX]
//   interop_peer connect --id KEY --addr IP:PORT[,IP:PORT] --alpn A [--bind IP:PORT] [--bytes N] [--datagrams
//   N]
//                        [--pings N] [--rebind]
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "base/encoding.h"
#include "base/log.h"
#include "base/random.h"
#include "endpoint/endpoint.h"
#include "net/event_loop.h"
#include "net/signals.h"

using namespace culvert;
using namespace std::chrono_literals;

namespace {

constexpr auto kPatience = 30s;
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
  int status = 1;
};

// Says each new address the peer is seen at, until the connection ends.
net::Task<> watch_path(Program& program, endpoint::ConnectionPtr connection) {
  SocketAddr seen;
  while (connection->is_open()) {
    SocketAddr remote = connection->path_stats().remote;
    if (remote != seen) say("PATH {}", remote.to_string());
    seen = remote;
    co_await net::sleep_for(program.loop, 20ms);
  }
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

net::Task<> serve(Program& program) {
  for (;;) {
    Result<endpoint::ConnectionPtr> connection = co_await program.endpoint->accept();
    if (!connection) break;
    say("ACCEPTED {} {}", (*connection)->remote_id().to_string(), (*connection)->alpn());
    program.tasks.spawn(echo_streams(program, *connection));
    program.tasks.spawn(echo_datagrams(*connection));
    program.tasks.spawn(watch_path(program, *connection));
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
  for (size_t number = 0; number < count; ++number) {
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
    if (number % 10 == 0) say("PING {}", number);
    co_await net::sleep_for(program.loop, kPingInterval);
  }
  stream->finish();
  say("PINGS {}", count);
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

net::Task<> connect(Program& program, endpoint::EndpointAddr addr, std::string alpn) {
  Result<endpoint::ConnectionPtr> connection =
      co_await program.endpoint->connect(std::move(addr), std::move(alpn), monotonic_now() + kPatience);
  if (!connection) {
    say("ERROR connect {} {}", to_string(connection.error().code), connection.error().message);
  } else {
    say("CONNECTED {} {}", (*connection)->remote_id().to_string(), (*connection)->alpn());
    program.tasks.spawn(say_close(*connection));
    program.tasks.spawn(watch_path(program, *connection));
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
  co_await net::wait_for_stop_signal(program.loop);
  program.endpoint->close(0, "done");
  co_await net::sleep_for(program.loop, 100ms);
  program.status = 0;
  program.loop.stop();
}

Result<endpoint::EndpointAddr> parse_target(const Options& options) {
  Result<PublicKey> id = PublicKey::parse(option(options, "id"));
  if (!id) return std::unexpected(id.error());
  endpoint::EndpointAddr addr{.id = *id, .relay_urls = {}, .ip_addrs = {}};
  std::string rest = option(options, "addr");
  while (!rest.empty()) {
    size_t comma = rest.find(',');
    Result<SocketAddr> ip = SocketAddr::parse(rest.substr(0, comma));
    if (!ip) return std::unexpected(ip.error());
    addr.ip_addrs.push_back(*ip);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return addr;
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

  endpoint::Config config{.key = key, .bind = *bind, .accept_alpns = {}, .limits = {}};
  if (mode == "serve") config.accept_alpns = {alpn};
  Result<std::unique_ptr<endpoint::Endpoint>> bound = endpoint::Endpoint::bind(program.loop, config);
  if (!bound) return say("ERROR bind {}", bound.error().message), 2;
  program.endpoint = std::move(*bound);
  say("ID {}", program.endpoint->id().to_string());
  say("ADDR {}", program.endpoint->local_addr().to_string());

  if (mode == "serve") {
    program.tasks.spawn(serve(program));
  } else {
    Result<endpoint::EndpointAddr> target = parse_target(program.options);
    if (!target) return say("ERROR target {}", target.error().message), 2;
    program.tasks.spawn(connect(program, *target, alpn));
  }
  program.tasks.spawn(end_on_signal(program));
  program.loop.run();
  return program.status;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || (arguments[0] != "serve" && arguments[0] != "connect")) {
    fmt::print(stderr, "usage: interop_peer serve|connect --name value... (see the head of peer.cc)\n");
    return 2;
  }
  Program program;
  for (size_t i = 1; i < arguments.size(); ++i) {
    std::string name = arguments[i].substr(2);
    bool is_flag = i + 1 == arguments.size() || arguments[i + 1].starts_with("--");
    program.options[name] = is_flag ? "" : arguments[++i];
  }
  return run(program, arguments[0]);
}
