// The load of `make bench` without a cipher of its own, so that its figures show who forwards and not who
// encrypts.
//
// A client sends one TLS record (the ClientHello that routes it) and then commands of eight bytes,
// big-endian: a count of bytes to be sent back. Bit 63 adds: then close. Bit 62: send one byte and stay
// silent.
//
//   bench_raw origin PORT
//   bench_raw requests IP PORT HELLO_FILE CONNECTIONS SECONDS SIZE [RATE]
//   bench_raw connections IP PORT HELLO_FILE AT_ONCE SECONDS SIZE
//
// Clients print one line of JSON. With RATE requests are due at even intervals, whether or not earlier ones
// are answered, and their latency counts from when they were due.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kClose = uint64_t{1} << 63;
constexpr uint64_t kIdle = uint64_t{1} << 62;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

std::array<uint8_t, 8> command(uint64_t count) {
  std::array<uint8_t, 8> out;
  for (int i = 0; i < 8; ++i) out[static_cast<size_t>(i)] = static_cast<uint8_t>(count >> (56 - 8 * i));
  return out;
}

void no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

class Poll {
 public:
  Poll() : fd_(epoll_create1(EPOLL_CLOEXEC)) {}
  void watch(int fd, uint32_t events, void* owner, int how = EPOLL_CTL_ADD) const {
    epoll_event event{.events = events, .data = {.ptr = owner}};
    if (epoll_ctl(fd_, how, fd, &event) != 0) die("epoll_ctl");
  }
  // Negative: without end. Finer than milliseconds: a paced client must sleep between requests, not spin.
  int wait(std::array<epoll_event, 256>& events, std::chrono::nanoseconds timeout) const {
    timespec limit{.tv_sec = timeout.count() / 1'000'000'000, .tv_nsec = timeout.count() % 1'000'000'000};
    return epoll_pwait2(fd_, events.data(), static_cast<int>(events.size()),
                        timeout.count() < 0 ? nullptr : &limit, nullptr);
  }

 private:
  int fd_;
};

// ---- The origin

struct Served {
  int fd;
  std::vector<uint8_t> input;
  size_t hello_left = 0;  // of the record, once its length is known
  bool greeted = false;
  uint64_t to_send = 0;
  bool close_after = false;
  bool waits_for_room = false;
};

// False when the connection is over.
bool serve(Poll& poll, Served& served) {
  static const std::vector<char> kBlock(1 << 20, 'x');
  std::array<uint8_t, 4096> buffer;
  for (;;) {
    while (served.to_send > 0) {
      ssize_t sent =
          send(served.fd, kBlock.data(), std::min<uint64_t>(served.to_send, kBlock.size()), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return false;
      if (sent < 0) {
        if (!served.waits_for_room) poll.watch(served.fd, EPOLLIN | EPOLLOUT, &served, EPOLL_CTL_MOD);
        served.waits_for_room = true;
        return true;
      }
      served.to_send -= static_cast<uint64_t>(sent);
    }
    if (served.waits_for_room) poll.watch(served.fd, EPOLLIN, &served, EPOLL_CTL_MOD);
    served.waits_for_room = false;
    if (served.close_after) return false;

    if (!served.greeted && served.input.size() >= 5) {
      size_t record = 5 + (static_cast<size_t>(served.input[3]) << 8 | served.input[4]);
      if (served.input.size() >= record) {
        served.input.erase(served.input.begin(), served.input.begin() + static_cast<ptrdiff_t>(record));
        served.greeted = true;
      }
    }
    if (served.greeted && served.input.size() >= 8) {
      uint64_t count = 0;
      for (size_t i = 0; i < 8; ++i) count = count << 8 | served.input[i];
      served.input.erase(served.input.begin(), served.input.begin() + 8);
      served.close_after = (count & kClose) != 0;
      served.to_send = (count & kIdle) != 0 ? 1 : count & ~kClose;
      continue;
    }
    ssize_t got = recv(served.fd, buffer.data(), buffer.size(), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
    if (got < 0) return true;
    served.input.insert(served.input.end(), buffer.begin(), buffer.begin() + got);
  }
}

[[noreturn]] void run_origin(uint16_t port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
  if (listen(listener, 4096) != 0) die("listen");
  Poll poll;
  poll.watch(listener, EPOLLIN, nullptr);
  std::array<epoll_event, 256> events;
  for (;;) {
    int count = poll.wait(events, std::chrono::nanoseconds(-1));
    for (int i = 0; i < count; ++i) {
      auto* served = static_cast<Served*>(events[static_cast<size_t>(i)].data.ptr);
      if (served == nullptr) {
        int fd;
        while ((fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
          no_delay(fd);
          poll.watch(fd, EPOLLIN, new Served{.fd = fd, .input = {}});
        }
      } else if (!serve(poll, *served)) {
        close(served->fd);
        delete served;  // events of a closed descriptor do not come again
      }
    }
  }
}

// ---- The clients

struct Options {
  sockaddr_in server{};
  std::string hello;
  size_t connections;
  double seconds;
  uint64_t size;
  double rate = 0;  // 0: as fast as answers come
};

struct Client {
  int fd = -1;
  bool connecting = false;
  bool greeted = false;
  bool busy = false;
  uint64_t left = 0;
  Clock::time_point since;
};

class Load {
 public:
  Load(Options options, bool new_each_time) : options_(std::move(options)), new_each_time_(new_each_time) {}

  void run() {
    clients_.resize(options_.connections);
    for (Client& client : clients_) open(client);
    // Connections that are still being made do not count as latency.
    began_ = Clock::now() + std::chrono::milliseconds(new_each_time_ || options_.rate == 0 ? 0 : 200);
    auto end =
        began_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.seconds));
    std::array<epoll_event, 256> events;
    for (auto now = Clock::now(); now < end; now = Clock::now()) {
      std::chrono::nanoseconds pause = std::chrono::milliseconds(10);
      if (options_.rate > 0) pause = std::min(pause, hand_out(now));
      int count = poll_.wait(events, pause);
      for (int i = 0; i < count; ++i) advance(*static_cast<Client*>(events[static_cast<size_t>(i)].data.ptr));
    }
    report(std::chrono::duration<double>(Clock::now() - began_).count());
  }

 private:
  void open(Client& client) {
    client = Client{};
    client.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client.fd < 0) die("socket");
    no_delay(client.fd);
    client.connecting = true;
    client.since = Clock::now();
    int result =
        connect(client.fd, reinterpret_cast<const sockaddr*>(&options_.server), sizeof options_.server);
    if (result != 0 && errno != EINPROGRESS) return failed(client);
    poll_.watch(client.fd, EPOLLIN | EPOLLOUT, &client);
  }

  void failed(Client& client) {
    if (++errors_ > 1000) {
      std::fprintf(stderr, "bench_raw: more than 1000 errors, the last: %s\n", std::strerror(errno));
      std::exit(1);
    }
    close(client.fd);
    open(client);
  }

  void ask(Client& client, Clock::time_point since) {
    auto bytes = command(options_.size | (new_each_time_ ? kClose : 0));
    std::string message = client.greeted ? "" : options_.hello;
    message.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    client.greeted = true;
    client.busy = true;
    client.left = options_.size;
    client.since = since;
    if (send(client.fd, message.data(), message.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(message.size()))
      failed(client);
  }

  // Gives requests that are due to connections that are free. Returns how long nothing more can be handed
  // out.
  std::chrono::nanoseconds hand_out(Clock::time_point now) {
    auto interval = std::chrono::duration<double>(1 / options_.rate);
    for (;;) {
      auto due =
          began_ + std::chrono::duration_cast<Clock::duration>(interval * static_cast<double>(handed_out_));
      if (free_.empty()) return std::chrono::seconds(1);  // until an answer comes
      if (due > now) return due - now;
      Client* client = free_.front();
      free_.pop_front();
      ++handed_out_;
      ask(*client, due);
    }
  }

  void ready(Client& client) {
    if (options_.rate > 0) {
      free_.push_back(&client);
    } else {
      ask(client, new_each_time_ ? client.since : Clock::now());
    }
  }

  void advance(Client& client) {
    if (client.connecting) {
      int error = 0;
      socklen_t length = sizeof error;
      getsockopt(client.fd, SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) {
        errno = error;
        return failed(client);
      }
      client.connecting = false;
      poll_.watch(client.fd, EPOLLIN, &client, EPOLL_CTL_MOD);
      return ready(client);
    }
    static std::array<char, 64 * 1024> buffer;
    for (;;) {
      ssize_t got = recv(client.fd, buffer.data(), buffer.size(), 0);
      if (got < 0 && errno == EAGAIN) return;
      bool over = got == 0 && new_each_time_ && client.busy && client.left == 0;
      if (got <= 0 && !over) return failed(client);
      client.left -= std::min<uint64_t>(client.left, static_cast<uint64_t>(got));
      if (new_each_time_ ? !over : client.left > 0) continue;
      latencies_.push_back(std::chrono::duration<double, std::milli>(Clock::now() - client.since).count());
      client.busy = false;
      if (!new_each_time_) return ready(client);
      close(client.fd);
      return open(client);
    }
  }

  void report(double seconds) {
    std::ranges::sort(latencies_);
    auto at = [this](double share) {
      if (latencies_.empty()) return 0.0;
      return latencies_[static_cast<size_t>(share * static_cast<double>(latencies_.size() - 1))];
    };
    std::printf("{\"rate\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"errors\": %zu}\n",
                static_cast<double>(latencies_.size()) / seconds, at(0.5), at(0.99), errors_);
  }

  Options options_;
  bool new_each_time_;
  Poll poll_;
  std::vector<Client> clients_;
  std::deque<Client*> free_;
  Clock::time_point began_;
  uint64_t handed_out_ = 0;
  std::vector<double> latencies_;
  size_t errors_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "origin" && argc == 3) run_origin(static_cast<uint16_t>(std::atoi(argv[2])));
  if ((mode != "requests" && mode != "connections") || argc < 8) {
    std::fputs("usage: see the head of bench/raw.cc\n", stderr);
    return 2;
  }
  Options options;
  options.server.sin_family = AF_INET;
  options.server.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[3])));
  if (inet_pton(AF_INET, argv[2], &options.server.sin_addr) != 1) die(argv[2]);
  std::ifstream hello(argv[4], std::ios::binary);
  options.hello.assign(std::istreambuf_iterator<char>(hello), {});
  options.connections = static_cast<size_t>(std::atoi(argv[5]));
  options.seconds = std::atof(argv[6]);
  options.size = static_cast<uint64_t>(std::atoll(argv[7]));
  if (argc > 8) options.rate = std::atof(argv[8]);
  Load(std::move(options), mode == "connections").run();
  return 0;
}
