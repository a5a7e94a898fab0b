#pragma once
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/socket_addr.h"
#include "net/ready_socket.h"
#include "net/tcp.h"

// For tests: a name server on loopback, on the loop of its client.
namespace culvert::net::testing {

inline constexpr uint16_t kTypeA = 1, kTypeCname = 5, kTypeTxt = 16, kTypeAaaa = 28;

struct DnsRecord {
  std::string name;
  uint16_t type = kTypeA;
  uint32_t ttl = 30;
  std::string data;  // an address's bytes, a CNAME's target, or a TXT record's strings
};

struct DnsReply {
  bool is_silent = false;
  uint8_t rcode = 0;          // 2 SERVFAIL, 3 NXDOMAIN
  bool is_truncated = false;  // over UDP: the client has to ask again over TCP
  Duration delay{0};
  std::vector<DnsRecord> records = {};
};

inline DnsRecord dns_address(std::string name, std::string_view ip, uint32_t ttl = 30) {
  const auto address =
      SocketAddr::parse(ip.find(':') == ip.npos ? std::string(ip) + ":0" : "[" + std::string(ip) + "]:0");
  const ByteView bytes = address.value().ip();
  return {std::move(name), address->is_v4() ? kTypeA : kTypeAaaa, ttl,
          std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
}

// A TXT record of several strings.
inline DnsRecord dns_text(std::string name, const std::vector<std::string>& strings) {
  DnsRecord record{.name = std::move(name), .type = kTypeTxt, .data = {}};
  for (const std::string& each : strings) record.data += static_cast<char>(each.size()) + each;
  return record;
}

class FakeDns {
 public:
  using Handler = std::function<DnsReply(const std::string& name, uint16_t type)>;

  FakeDns(EventLoop& loop, Handler handler) : FakeDns(loop, std::move(handler), bound_sockets()) {}

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int asked(const std::string& name, uint16_t type) const {
    const auto found = asked_.find({name, type});
    return found == asked_.end() ? 0 : found->second;
  }
  int total() const { return total_; }
  int over_tcp() const { return over_tcp_; }

 private:
  struct Sockets {
    int udp, tcp;
    uint16_t port;
  };
  // Of one port that is free for both, beside whatever else runs here.
  static Sockets bound_sockets() {
    for (int tries = 0; tries < 100; ++tries) {
      const int udp = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
      const int tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t length = sizeof address;
      auto* raw = reinterpret_cast<sockaddr*>(&address);
      if (::bind(udp, raw, length) == 0 && ::getsockname(udp, raw, &length) == 0 &&
          ::bind(tcp, raw, length) == 0 && ::listen(tcp, 16) == 0)
        return {udp, tcp, ntohs(address.sin_port)};
      ::close(udp);
      ::close(tcp);
    }
    std::abort();
  }
  FakeDns(EventLoop& loop, Handler handler, Sockets sockets)
      : loop_(loop),
        handler_(std::move(handler)),
        udp_(loop, sockets.udp),
        tcp_(loop, sockets.tcp),
        port_(sockets.port) {
    wait_udp();
    wait_tcp();
  }

  static void put16(std::string& out, size_t value) {
    out += static_cast<char>(value >> 8);
    out += static_cast<char>(value & 0xff);
  }

  static std::string encode_name(const std::string& name) {
    std::string out;
    for (size_t at = 0; at < name.size();) {
      const size_t end = std::min(name.find('.', at), name.size());
      out += static_cast<char>(end - at);
      out += name.substr(at, end - at);
      at = end + 1;
    }
    return out + '\0';
  }

  static std::string encode(const std::string& query, size_t question_end, const DnsReply& reply,
                            bool truncate) {
    std::string out = query.substr(0, 2);
    out += static_cast<char>(truncate ? 0x87 : 0x85);
    out += static_cast<char>(0x80 | reply.rcode);
    put16(out, 1);
    put16(out, truncate ? 0 : reply.records.size());
    put16(out, 0);
    put16(out, 0);
    out += query.substr(12, question_end - 12);
    if (truncate) return out;
    for (const DnsRecord& record : reply.records) {
      const std::string data = record.type == kTypeCname ? encode_name(record.data) : record.data;
      out += encode_name(record.name);
      put16(out, record.type);
      put16(out, 1);
      put16(out, record.ttl >> 16);
      put16(out, record.ttl & 0xffff);
      put16(out, data.size());
      out += data;
    }
    return out;
  }

  // The answer to one query, and when to give it; empty for silence.
  std::pair<std::string, Duration> answer(const std::string& query, bool udp) {
    std::string name;
    size_t at = 12;
    while (at < query.size() && query[at] != 0) {
      const auto length = static_cast<uint8_t>(query[at]);
      if (!name.empty()) name += '.';
      name += query.substr(at + 1, length);
      at += length + 1u;
    }
    if (at + 5 > query.size()) return {};
    const auto type =
        static_cast<uint16_t>(static_cast<uint8_t>(query[at + 1]) << 8 | static_cast<uint8_t>(query[at + 2]));
    ++asked_[{name, type}];
    ++total_;
    if (!udp) ++over_tcp_;
    const DnsReply reply = handler_(name, type);
    if (reply.is_silent) return {};
    return {encode(query, at + 5, reply, udp && reply.is_truncated), reply.delay};
  }

  void wait_udp() {
    udp_.when_readable([this] {
      while (true) {
        std::string query(4096, '\0');
        sockaddr_storage from;
        socklen_t length = sizeof from;
        const ssize_t got =
            ::recvfrom(udp_.fd(), query.data(), query.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
        if (got < 12) break;
        query.resize(static_cast<size_t>(got));
        const auto reply = answer(query, true);
        if (reply.first.empty()) continue;
        const auto send = [this, text = reply.first, from, length] {
          ::sendto(udp_.fd(), text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&from), length);
        };
        if (reply.second == Duration(0)) {
          send();
        } else {
          timers_.push_back(std::make_unique<Timer>(loop_));
          timers_.back()->after(reply.second, send);
        }
      }
      wait_udp();
    });
  }

  void wait_tcp() {
    tcp_.when_readable([this] {
      const int fd = ::accept4(tcp_.fd(), nullptr, nullptr, SOCK_NONBLOCK);
      if (fd >= 0) {
        clients_.push_back(std::make_unique<ReadySocket>(loop_, fd));
        wait_client(*clients_.back());
      }
      wait_tcp();
    });
  }

  void wait_client(ReadySocket& client) {
    client.when_readable([this, &client] {
      std::string query(4096, '\0');
      const ssize_t got = ::recv(client.fd(), query.data(), query.size(), 0);
      if (got < 14) return;  // closed
      query = query.substr(2, static_cast<size_t>(got) - 2);
      const std::string text = answer(query, false).first;
      std::string framed;
      put16(framed, text.size());
      framed += text;
      if (!text.empty() && ::send(client.fd(), framed.data(), framed.size(), MSG_NOSIGNAL) < 0) return;
      wait_client(client);
    });
  }

  EventLoop& loop_;
  Handler handler_;
  ReadySocket udp_, tcp_;
  uint16_t port_ = 0;
  std::map<std::pair<std::string, uint16_t>, int> asked_;
  int total_ = 0, over_tcp_ = 0;
  std::vector<std::unique_ptr<ReadySocket>> clients_;
  std::vector<std::unique_ptr<Timer>> timers_;
};

}  // namespace culvert::net::testing
