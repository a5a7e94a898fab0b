// The load of bench/udp: datagrams at a fixed rate to a server that answers each with the same.
//
//   bench_datagrams echo IP PORT
//   bench_datagrams sink IP PORT
//   bench_datagrams load IP PORT FLOWS RATE SECONDS SIZE
//
// The load has one socket for each flow and sends bursts of what is due, in turns over the flows. It prints
// one line of JSON: what it sent and could not send, how many answers came, and their round trips. A sink
// answers only datagrams of eight bytes, by the number of those that came before and since the last one.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBuffer = 16 << 20;
constexpr size_t kBatch = 64;
constexpr size_t kMaxSize = 65536;

sockaddr_in address(const char* ip, const char* port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<uint16_t>(std::atoi(port)));
  inet_pton(AF_INET, ip, &out.sin_addr);
  return out;
}

int open_socket() {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  for (const int option : {SO_RCVBUF, SO_SNDBUF, SO_RCVBUFFORCE, SO_SNDBUFFORCE})
    setsockopt(fd, SOL_SOCKET, option, &kBuffer, sizeof kBuffer);
  return fd;
}

// Datagrams and room for them.
struct Batch {
  Batch() {
    for (size_t i = 0; i < kBatch; ++i) {
      vectors[i] = {bytes.data() + i * kMaxSize, kMaxSize};
      headers[i].msg_hdr.msg_name = &peers[i];
      headers[i].msg_hdr.msg_iov = &vectors[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
  }
  // How many came, 0 or more.
  unsigned receive(int fd, int flags) {
    for (size_t i = 0; i < kBatch; ++i) {
      vectors[i].iov_len = kMaxSize;
      headers[i].msg_hdr.msg_namelen = sizeof peers[i];
    }
    const int count = recvmmsg(fd, headers.data(), kBatch, flags, nullptr);
    return count < 0 ? 0 : static_cast<unsigned>(count);
  }

  std::vector<uint8_t> bytes = std::vector<uint8_t>(kBatch * kMaxSize);
  std::array<sockaddr_in, kBatch> peers{};
  std::array<iovec, kBatch> vectors{};
  std::array<mmsghdr, kBatch> headers{};
};

int serve(const sockaddr_in& at, bool is_sink) {
  const int fd = open_socket();
  if (bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) return 1;
  std::puts("ready");
  std::fflush(stdout);
  Batch batch;
  uint64_t count = 0;
  while (true) {
    const unsigned came = batch.receive(fd, MSG_WAITFORONE);
    for (unsigned i = 0; i < came; ++i) {
      batch.vectors[i].iov_len = batch.headers[i].msg_len;
      if (!is_sink) continue;
      if (batch.headers[i].msg_len != sizeof count) {
        ++count;
        continue;
      }
      std::memcpy(batch.vectors[i].iov_base, &count, sizeof count);
      count = 0;
      sendmsg(fd, &batch.headers[i].msg_hdr, 0);
    }
    if (is_sink) continue;
    for (unsigned sent = 0; sent < came;) {
      const int done = sendmmsg(fd, batch.headers.data() + sent, came - sent, 0);
      if (done <= 0) break;
      sent += static_cast<unsigned>(done);
    }
  }
}

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

int load(const sockaddr_in& to, size_t flows, int64_t rate, int seconds, size_t size) {
  std::vector<int> sockets;
  for (size_t i = 0; i < flows; ++i) {
    sockets.push_back(open_socket());
    if (connect(sockets.back(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return 1;
  }
  Batch out, in;
  for (auto& header : out.headers) header.msg_hdr.msg_name = nullptr;
  for (auto& vector : out.vectors) vector.iov_len = size;
  std::vector<int64_t> trips;
  int64_t sent = 0, failed = 0;
  const auto receive = [&] {
    bool any = false;
    for (const int fd : sockets) {
      const unsigned came = in.receive(fd, MSG_DONTWAIT);
      any = any || came > 0;
      for (unsigned i = 0; i < came; ++i) {
        int64_t then;
        std::memcpy(&then, in.vectors[i].iov_base, sizeof then);
        trips.push_back(now() - then);
      }
    }
    return any;
  };
  const int64_t began = now(), total = rate * seconds;
  size_t turn = 0;
  while (sent + failed < total) {
    const int64_t due = std::min(total, (now() - began) * rate / 1'000'000'000);
    while (sent + failed < due) {
      const auto count = static_cast<unsigned>(std::min<int64_t>(due - sent - failed, 16));
      const int64_t stamp = now();
      for (unsigned i = 0; i < count; ++i) std::memcpy(out.vectors[i].iov_base, &stamp, sizeof stamp);
      const int done = sendmmsg(sockets[turn++ % flows], out.headers.data(), count, 0);
      sent += std::max(done, 0);
      if (done < 0) failed += count;
    }
    if (!receive()) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  const double took = static_cast<double>(now() - began) / 1e9;
  for (int64_t last = now(); now() - last < 500'000'000;) {
    if (receive()) last = now();
  }
  std::ranges::sort(trips);
  const auto part = [&](double share) {
    if (trips.empty()) return 0.0;
    const auto place = static_cast<size_t>(static_cast<double>(trips.size() - 1) * share);
    return static_cast<double>(trips[place]) / 1e6;
  };
  std::printf(
      "{\"sent\": %lld, \"failed\": %lld, \"answered\": %zu, \"seconds\": %.3f, \"p50_ms\": %.3f, "
      "\"p99_ms\": "
      "%.3f}\n",
      static_cast<long long>(sent), static_cast<long long>(failed), trips.size(), took, part(0.5),
      part(0.99));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string_view mode = argv[1];
  const sockaddr_in at = address(argv[2], argv[3]);
  if (mode == "echo" || mode == "sink") return serve(at, mode == "sink");
  if (mode != "load" || argc != 8) return 2;
  return load(at, static_cast<size_t>(std::atoi(argv[4])), std::atoll(argv[5]), std::atoi(argv[6]),
              static_cast<size_t>(std::atoi(argv[7])));
}
