#include "net/udp_socket.h"

#include <linux/filter.h>
#include <netinet/udp.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/bind.h"
#include "net/ready_socket.h"
#include "net/shared_sockets.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

namespace culvert::net {
namespace {

// One GRO message can be 64 KiB. Eight of them bound what a socket costs: pages that only ever hold single
// packets stay untouched beyond the first.
constexpr size_t kSlotSize = 65536;
constexpr unsigned kSlots = 8;
// What is read before the user may answer and timers may run: longer, and acknowledgements leave late.
constexpr size_t kMessagesPerTurn = 64;
constexpr size_t kBytesPerTurn = 256 * 1024;
// UDP_MAX_SEGMENTS of kernels before 6.9; the byte limit leaves room for every IP and UDP header below 65535.
constexpr size_t kMaxSegments = 64;
constexpr size_t kMaxBatch = 65000;
// Some 30 ms at 1 Gbit/s: what arrives while this thread does something else must find room.
constexpr int kSocketBuffer = 4 << 20;

void set_option(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

void raise_buffer(int fd, int forced_name, int name) {
  // The forced form ignores net.core.[rw]mem_max and needs CAP_NET_ADMIN.
  if (setsockopt(fd, SOL_SOCKET, forced_name, &kSocketBuffer, sizeof kSocketBuffer) != 0) {
    set_option(fd, SOL_SOCKET, name, kSocketBuffer);
  }
}

// What one turn of any socket of the thread is read into, until its callbacks return.
uint8_t* receive_buffer() {
  thread_local const auto buffer = std::make_unique_for_overwrite<uint8_t[]>(kSlots * kSlotSize);
  return buffer.get();
}

void configure(int fd, bool v6, bool fragments) {
  // A v6 socket takes the IPv4 options for the IPv4 traffic it carries. All of these may fail on an old
  // kernel, and only cost speed or accuracy then.
  set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
  // Who does not fragment probes. IPv4 routers fragment for who does; IPv6 leaves that to the sender, who has
  // to believe what routers tell of the path.
  set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, fragments ? IP_PMTUDISC_DONT : IP_PMTUDISC_PROBE);
  if (v6) {
    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, fragments ? IPV6_PMTUDISC_WANT : IPV6_PMTUDISC_PROBE);
  } else {
    set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
  }
  set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
  raise_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
  raise_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
}

// Of the first byte of our connection ids; the highest bit is the generation of the process.
constexpr uint32_t kWorkerBits = 0x7f;

// Classic BPF over the UDP payload: the first byte of the destination connection id is byte 6 behind a long
// header (RFC 9000, 17.2) and byte 1 behind a short one (17.3). A load past the end returns 0: the first
// socket.
Result<> steer(int fd, unsigned count) {
  std::array<sock_filter, 8> program = {{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80, 0, 2),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
      BPF_STMT(BPF_JMP | BPF_JA, 1),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kWorkerBits),
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
      BPF_STMT(BPF_RET | BPF_A, 0),
  }};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) == 0) return {};
  return fail(ErrorCode::kIo, "cannot steer datagrams to workers: {}; run with one worker",
              std::strerror(errno));
}

Result<> connect_to(int fd, const SocketAddr& remote, const SocketAddr& local) {
  sockaddr_storage address;
  const socklen_t size = remote.to_sockaddr(address, !local.is_v4());
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0) return {};
  return fail(ErrorCode::kUnavailable, "cannot reach {}/udp: {}", remote.to_string(), std::strerror(errno));
}

// All that the process does with a socket that another did not prepare already.
Result<Descriptor> open_configured(const SocketAddr& address, const UdpOptions& options) {
  auto fd = open_bound(address, SOCK_DGRAM, options.share);
  if (!fd) return std::unexpected(fd.error());
  Descriptor socket(*fd);
  configure(*fd, !address.is_v4(), options.fragments);
  Result<> done;
  if (options.remote) done = connect_to(*fd, *options.remote, address);
  if (done && options.share == PortShare::kFirst) done = allow_siblings(*fd, address, SOCK_DGRAM);
  if (done && options.share == PortShare::kSibling && options.steer_by_connection_id > 0)
    done = steer(*fd, options.steer_by_connection_id);
  if (!done) return std::unexpected(done.error());
  return socket;
}

template <class T>
T cmsg_value(const cmsghdr* header) {
  T value{};
  std::memcpy(&value, CMSG_DATA(header), std::min(sizeof value, header->cmsg_len - CMSG_LEN(0)));
  return value;
}

struct Ancillary {
  SocketAddr local;
  uint8_t ecn = 0;
  size_t segment_size = 0;  // 0: one datagram
};

Ancillary parse_ancillary(msghdr& message, uint16_t port) {
  Ancillary out;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      std::array<uint8_t, 4> ip;
      const auto info = cmsg_value<in_pktinfo>(header);
      std::memcpy(ip.data(), &info.ipi_addr, ip.size());
      out.local = SocketAddr::v4(ip, port);
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      std::array<uint8_t, 16> ip;
      const auto info = cmsg_value<in6_pktinfo>(header);
      std::memcpy(ip.data(), &info.ipi6_addr, ip.size());
      out.local = SocketAddr::v6(ip, port);
    } else if ((header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_TOS) ||
               (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_TCLASS)) {
      out.ecn = cmsg_value<uint8_t>(header) & 3;
    } else if (header->cmsg_level == IPPROTO_UDP && header->cmsg_type == UDP_GRO) {
      out.segment_size = static_cast<size_t>(cmsg_value<int>(header));
    }
  }
  return out;
}

// Builds control messages in place.
class ControlWriter {
 public:
  explicit ControlWriter(msghdr& message) : message_(message) {
    message_.msg_control = buffer_;
    message_.msg_controllen = 0;
  }

  template <class T>
  void add(int level, int type, const T& value) {
    auto* header = reinterpret_cast<cmsghdr*>(buffer_ + message_.msg_controllen);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(CMSG_DATA(header), &value, sizeof value);
    message_.msg_controllen += CMSG_SPACE(sizeof value);
  }

 private:
  msghdr& message_;
  alignas(cmsghdr) uint8_t
      buffer_[CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t))] = {};
};

void add_source(ControlWriter& control, const SocketAddr& local) {
  if (local.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, local.ip().data(), local.ip().size());
    control.add(IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, local.ip().data(), local.ip().size());
    control.add(IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
}

}  // namespace

struct UdpSocket::Impl final : Shareable, std::enable_shared_from_this<UdpSocket::Impl> {
  Impl(EventLoop& loop, int fd) : socket(loop, fd), local(bound_address(fd)) {}

  void wait() {
    if (is_paused) return;
    is_waiting = true;
    socket.when_readable([this] { read_turn(); });
  }

  void pause() override {
    is_paused = true;
    socket.pause_reading();
  }
  void resume() override {
    if (!std::exchange(is_paused, false) || !socket.is_open()) return;
    feed.reset();
    socket.resume_reading();
    if (!is_waiting && each) wait();
  }
  void read_feed(Descriptor from) override {
    if (!socket.is_open() || !each) return;
    feed = std::make_unique<ReadySocket>(socket.loop(), from.release());
    wait_for_feed();
  }

  void forget(uint8_t generation) override {
    std::erase_if(relays, [&](const auto& relay) { return relay->generation() == generation; });
  }

  void wait_for_feed() {
    feed->when_readable([this] { read_feed_turn(); });
  }

  // What the process that reads the socket now has passed on.
  void read_feed_turn() {
    const auto self = shared_from_this();
    const MutableBytes buffer(receive_buffer(), kSlots * kSlotSize);
    size_t messages = 0;
    bool has_ended = false;
    for (; socket.is_open() && feed && messages < kMessagesPerTurn; ++messages) {
      const ssize_t got = ::recv(feed->fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      has_ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
      if (got <= 0) break;
      const auto batch = decode_relayed(buffer.first(static_cast<size_t>(got)));
      if (!batch) continue;
      for_each_datagram(*batch, [this](const ReceivedDatagram& datagram) {
        if (socket.is_open()) each(datagram);
      });
    }
    if (messages > 0 && socket.is_open()) batch_end();
    if (has_ended || !socket.is_open()) feed.reset();
    if (feed) wait_for_feed();
  }

  DatagramRelay* relay_for(ByteView datagram) {
    const auto generation = generation_of(datagram);
    if (!generation) return nullptr;
    const auto found = std::ranges::find_if(
        relays, [&](const auto& relay) { return relay->generation() == *generation && !relay->is_lost(); });
    return found == relays.end() ? nullptr : found->get();
  }

  void dispatch(const ReceivedDatagram& datagram) {
    if (!relays.empty()) {
      if (DatagramRelay* const relay = relay_for(datagram.data)) return relay->push(datagram);
    }
    each(datagram);
  }

  void flush_relays() {
    for (const auto& relay : relays) relay->flush();
  }

  void read_turn() {
    const auto self = shared_from_this();  // a callback may destroy the socket
    is_waiting = false;
    if (is_paused && socket.is_open()) return;
    size_t messages = 0;
    size_t bytes = 0;
    while (socket.is_open() && messages < kMessagesPerTurn && bytes < kBytesPerTurn) {
      const unsigned count = receive(bytes);
      messages += count;
      if (count < kSlots) break;
    }
    flush_relays();
    if (messages > 0 && socket.is_open()) batch_end();
    if (socket.is_open()) {
      wait();
    } else {
      each = nullptr;  // what it holds may hold this socket
      batch_end = nullptr;
    }
  }

  // One recvmmsg; returns how many messages came, 0 for nothing to read.
  unsigned receive(size_t& bytes) {
    uint8_t* const buffer = receive_buffer();
    std::array<mmsghdr, kSlots> headers{};
    std::array<iovec, kSlots> vectors;
    std::array<sockaddr_storage, kSlots> remotes;
    // Room for destination address, traffic class and segment size, in both families.
    struct alignas(cmsghdr) Control {
      uint8_t bytes[160];
    };
    std::array<Control, kSlots> controls;
    for (size_t i = 0; i < kSlots; ++i) {
      vectors[i] = {.iov_base = buffer + i * kSlotSize, .iov_len = kSlotSize};
      msghdr& header = headers[i].msg_hdr;
      header.msg_name = &remotes[i];
      header.msg_namelen = sizeof remotes[i];
      header.msg_iov = &vectors[i];
      header.msg_iovlen = 1;
      header.msg_control = &controls[i];
      header.msg_controllen = sizeof controls[i];
    }
    // An error here is the ICMP answer to some earlier datagram, and reading has cleared it: QUIC finds out
    // by itself.
    const int count = recvmmsg(socket.fd(), headers.data(), kSlots, MSG_DONTWAIT, nullptr);
    if (count < 0 && errno != EAGAIN && errno != EINTR) refused();
    if (count <= 0) return 0;
    for (size_t i = 0; i < static_cast<size_t>(count) && socket.is_open(); ++i) {
      msghdr& header = headers[i].msg_hdr;
      bytes += headers[i].msg_len;
      if (header.msg_flags & MSG_TRUNC) continue;
      const ByteView data(buffer + i * kSlotSize, headers[i].msg_len);
      deliver(data, SocketAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&remotes[i])),
              parse_ancillary(header, local.port()));
    }
    return static_cast<unsigned>(count);
  }

  void deliver(ByteView data, const SocketAddr& remote, const Ancillary& ancillary) {
    const size_t segment = ancillary.segment_size ? ancillary.segment_size : std::max<size_t>(data.size(), 1);
    do {
      const size_t size = std::min(segment, data.size());
      dispatch({.data = data.first(size), .remote = remote, .local = ancillary.local, .ecn = ancillary.ecn});
      data = data.subspan(size);
    } while (!data.empty() && socket.is_open());
  }

  void refused() {
    const auto callback = on_refused;  // it may destroy the socket
    if (callback) callback();
  }

  // Not from inside a call on the socket.
  void refused_soon() {
    if (!on_refused) return;
    socket.loop().post([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self && self->socket.is_open()) self->refused();
    });
  }

  // 0 or an errno.
  int send_once(ByteView data, size_t segment_size, const DatagramBatch& batch) {
    sockaddr_storage remote;
    msghdr message{};
    message.msg_name = &remote;
    message.msg_namelen = batch.remote.to_sockaddr(remote, !local.is_v4());
    iovec vector{.iov_base = const_cast<uint8_t*>(data.data()), .iov_len = data.size()};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    ControlWriter control(message);
    if (data.size() > segment_size)
      control.add(IPPROTO_UDP, UDP_SEGMENT, static_cast<uint16_t>(segment_size));
    if (batch.ecn && batch.remote.is_v4()) control.add<int>(IPPROTO_IP, IP_TOS, batch.ecn);
    if (batch.ecn && !batch.remote.is_v4()) control.add<int>(IPPROTO_IPV6, IPV6_TCLASS, batch.ecn);
    if (!batch.local.is_unspecified() && batch.local.is_v4() == batch.remote.is_v4())
      add_source(control, batch.local);
    // A stale ICMP error of an earlier datagram is reported once, instead of sending.
    int error = 0;
    for (int attempt = 0; attempt < 2; ++attempt) {
      if (sendmsg(socket.fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
      error = errno;
      if (error != EINTR && error != ECONNREFUSED) break;
      if (error == ECONNREFUSED) refused_soon();
    }
    return error;
  }

  ReadySocket socket;
  SocketAddr local;
  SharedSockets::Registration registration;
  SharedSockets::Relays relays;       // to the processes that had the socket before
  std::unique_ptr<ReadySocket> feed;  // from the one that has it now
  bool is_paused = false;
  bool is_waiting = false;  // for something to read
  std::function<void(const ReceivedDatagram&)> each;
  std::function<void()> batch_end;
  std::function<void()> writable;
  std::function<void()> on_refused;
  Duration segmentation_pause{};
  TimePoint segmentation_refused_until = TimePoint::min();

  // The clock is read only after a refusal.
  bool is_segmenting() {
    if (segmentation_refused_until == TimePoint::min()) return true;
    if (socket.loop().now() < segmentation_refused_until) return false;
    segmentation_refused_until = TimePoint::min();
    return true;
  }
};

Result<std::unique_ptr<UdpSocket>> UdpSocket::bind(EventLoop& loop, const SocketAddr& address,
                                                   const UdpOptions& options,
                                                   const std::shared_ptr<SharedSockets>& shared) {
  SharedSockets::Claimed claimed;
  if (shared && !options.remote) claimed = shared->claim(SocketKind::kUdp, address);
  if (!claimed.socket) {
    auto opened = open_configured(address, options);
    if (!opened) return std::unexpected(opened.error());
    claimed.socket = std::move(*opened);
  }
  auto impl = std::make_shared<Impl>(loop, claimed.socket.release());
  impl->on_refused = options.on_refused;
  impl->segmentation_pause = options.segmentation_pause;
  if (!impl->socket.is_open()) return std::unexpected(bind_error(address, SOCK_DGRAM, ENOMEM));
  if (options.has_connections) impl->relays = std::move(claimed.relays);
  if (shared && !options.remote) {
    impl->registration = shared->add({.kind = SocketKind::kUdp,
                                      .address = impl->local,
                                      .fd = impl->socket.fd(),
                                      .loop = &loop,
                                      .socket = impl,
                                      .has_connections = options.has_connections,
                                      .relays = {impl->relays.begin(), impl->relays.end()}});
  }
  return std::unique_ptr<UdpSocket>(new UdpSocket(std::move(impl)));
}

Result<> UdpSocket::rebind() {
  auto fresh = bind(impl_->socket.loop(), impl_->local.with_port(0),
                    {.segmentation_pause = impl_->segmentation_pause});
  if (!fresh) return std::unexpected(fresh.error());
  const std::shared_ptr<Impl> old = std::exchange(impl_, (*fresh)->impl_);
  (*fresh)->impl_ = old;  // which `fresh` closes
  if (old->each) start(old->each, old->batch_end);
  return {};
}

Result<std::unique_ptr<PacketIo>> bind_udp(EventLoop& loop, const SocketAddr& address,
                                           const UdpOptions& options) {
  return loop.platform().bind_udp(loop, address, options);
}

UdpSocket::UdpSocket(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

UdpSocket::~UdpSocket() { shut(); }

SocketAddr UdpSocket::local_addr() const { return impl_->local; }

void UdpSocket::start(std::function<void(const ReceivedDatagram&)> each, std::function<void()> batch_end) {
  impl_->each = std::move(each);
  impl_->batch_end = std::move(batch_end);
  impl_->wait();
}

// A batch that one call cannot carry is split. Once a part has left, a full socket buffer drops the rest: to
// QUIC that is loss at the first hop, and kBlocked would have the caller send the first part twice.
UdpSocket::SendStatus UdpSocket::send(const DatagramBatch& batch) {
  ByteView rest = batch.data;
  const size_t segment = std::max<size_t>(batch.segment_size, 1);
  do {
    const size_t segments =
        impl_->is_segmenting() ? std::clamp<size_t>(kMaxBatch / segment, 1, kMaxSegments) : 1;
    ByteView part = rest.first(std::min(rest.size(), segments * segment));
    int error = impl_->send_once(part, segment, batch);
    if ((error == EIO || error == EINVAL) && part.size() > segment) {
      // Refused segmentation (a device without checksums, IPsec), or something else is wrong with this batch:
      // the same without segmentation tells.
      part = rest.first(segment);
      error = impl_->send_once(part, segment, batch);
      if (error == 0)
        impl_->segmentation_refused_until = impl_->socket.loop().now() + impl_->segmentation_pause;
    }
    switch (error) {
      case 0:
        break;
      case EAGAIN:
      case ENOBUFS:
        return rest.size() == batch.data.size() ? SendStatus::kBlocked : SendStatus::kSent;
      case EMSGSIZE:
        return SendStatus::kTooLarge;
      default:
        return SendStatus::kUnreachable;
    }
    rest = rest.subspan(part.size());
  } while (!rest.empty());  // a datagram may be empty
  return SendStatus::kSent;
}

void UdpSocket::when_writable(std::function<void()> callback) {
  const bool waiting = impl_->writable != nullptr;
  impl_->writable = std::move(callback);
  if (waiting) return;
  impl_->socket.when_writable([impl = impl_.get()] {
    const auto self = impl->shared_from_this();
    if (auto ready = std::exchange(impl->writable, nullptr)) ready();
  });
}

bool UdpSocket::is_segmenting() const { return impl_->is_segmenting(); }

void UdpSocket::close() { shut(); }

void UdpSocket::shut() {
  impl_->writable = nullptr;
  impl_->registration.reset();
  impl_->feed.reset();
  impl_->socket.close();
}

}  // namespace culvert::net
