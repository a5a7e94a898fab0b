#include "net/shared_sockets.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/event_loop.h"

namespace culvert::net {
namespace {

// Some 30 ms of a fast sender, as the socket itself has.
constexpr int kFeedBuffer = 4 << 20;

Result<Descriptor> duplicate(int fd) {
  Descriptor copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail(ErrorCode::kIo, "cannot duplicate a socket: {}", std::strerror(errno));
  return copy;
}

struct Pair {
  Descriptor reading;
  Descriptor writing;
};

Result<Pair> make_feed() {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail(ErrorCode::kIo, "cannot make a pair of sockets: {}", std::strerror(errno));
  Pair pair{Descriptor(ends[0]), Descriptor(ends[1])};
  // The queue of such a pair counts against its writer. The forced form needs CAP_NET_ADMIN.
  if (::setsockopt(pair.writing.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kFeedBuffer, sizeof kFeedBuffer) != 0)
    ::setsockopt(pair.writing.get(), SOL_SOCKET, SO_SNDBUF, &kFeedBuffer, sizeof kFeedBuffer);
  return pair;
}

}  // namespace

void SharedSockets::Registration::reset() {
  if (auto sockets = std::exchange(sockets_, nullptr)) sockets->remove(id_);
}

void SharedSockets::give(std::vector<HandedSocket> sockets) {
  std::lock_guard lock(mutex_);
  std::ranges::move(sockets, std::back_inserter(given_));
}

SharedSockets::Claimed SharedSockets::claim(SocketKind kind, const SocketAddr& address) {
  std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(
      given_, [&](const HandedSocket& each) { return each.kind == kind && each.address == address; });
  if (found == given_.end()) return {};
  HandedSocket given = std::move(*found);
  given_.erase(found);
  Claimed claimed{std::move(given.socket), {}};
  for (HandedSocket::Feed& feed : given.feeds) {
    claimed.relays.push_back(
        std::make_shared<DatagramRelay>(feed.generation, std::move(feed.socket), relay_counters_));
  }
  return claimed;
}

size_t SharedSockets::drop_unclaimed() {
  std::vector<HandedSocket> dropped;  // closed behind the lock
  std::lock_guard lock(mutex_);
  dropped.swap(given_);
  return dropped.size();
}

SharedSockets::Registration SharedSockets::add(Entry entry) {
  std::lock_guard lock(mutex_);
  entries_.push_back({++last_id_, std::move(entry)});
  return {shared_from_this(), last_id_};
}

void SharedSockets::remove(uint64_t id) {
  std::lock_guard lock(mutex_);
  std::erase_if(entries_, [&](const Listed& listed) { return listed.id == id; });
}

void SharedSockets::pause(const std::function<void()>& done) {
  std::lock_guard lock(mutex_);
  if (entries_.empty()) return done();
  const auto left = std::make_shared<std::atomic<size_t>>(entries_.size());
  for (const auto& [id, entry] : entries_) {
    entry.loop->post([weak = entry.socket, left, done] {
      if (const auto socket = weak.lock()) socket->pause();
      if (--*left == 0) done();
    });
  }
}

void SharedSockets::resume() {
  std::lock_guard lock(mutex_);
  for (const auto& [id, entry] : entries_) {
    entry.loop->post([weak = entry.socket] {
      if (const auto socket = weak.lock()) socket->resume();
    });
  }
}

void SharedSockets::forget(uint8_t generation) {
  std::lock_guard lock(mutex_);
  for (const auto& [id, entry] : entries_) {
    if (!entry.has_connections) continue;
    entry.loop->post([weak = entry.socket, generation] {
      if (const auto socket = weak.lock()) socket->forget(generation);
    });
  }
}

// A descriptor that is listed is open: its owner takes it off the list first.
Result<std::vector<HandedSocket>> SharedSockets::hand_over(uint8_t generation) {
  std::vector<HandedSocket> handed;
  std::lock_guard lock(mutex_);
  for (auto& [id, entry] : entries_) {
    auto socket = duplicate(entry.fd);
    if (!socket) return std::unexpected(socket.error());
    HandedSocket out{entry.kind, entry.address, std::move(*socket), {}};
    for (const auto& weak : entry.relays) {
      const auto relay = weak.lock();
      if (!relay || relay->is_lost()) continue;
      auto feed = duplicate(relay->fd());
      if (!feed) return std::unexpected(feed.error());
      out.feeds.push_back({relay->generation(), std::move(*feed)});
    }
    if (entry.has_connections) {
      auto feed = make_feed();
      if (!feed) return std::unexpected(feed.error());
      out.feeds.push_back({generation, std::move(feed->writing)});
      entry.loop->post([weak = entry.socket, fd = std::make_shared<Descriptor>(std::move(feed->reading))] {
        if (const auto owner = weak.lock()) owner->read_feed(std::move(*fd));
      });
    }
    handed.push_back(std::move(out));
  }
  return handed;
}

}  // namespace culvert::net
