#include "edge/opening.h"

#include <utility>

#include "edge/first_request.h"
#include "tunnel/protocol.h"

namespace culvert::edge {

Opening::Opening(net::ByteStream& socket, endpoint::StreamPtr stream, Bytes header, ByteView received,
                 tunnel::StreamKind kind, bool is_last, MutableBytes scratch)
    : socket_(socket),
      stream_(std::move(stream)),
      scratch_(scratch),
      initial_(std::move(header)),
      header_size_(initial_.size()),
      kind_(kind),
      is_last_(is_last),
      wants_first_(received.empty() && (kind == tunnel::StreamKind::kTerminate ||
                                        (kind == tunnel::StreamKind::kTcpPort && is_last))),
      changed_(socket.loop()) {
  add(received);
  stream_->set_observer(this);
  // What has come already goes into the same packet as the header.
  read_first();
  send();
}

Opening::~Opening() {
  if (!stream_) return;
  socket_.cancel();
  stream_->set_observer(nullptr);
  stream_->reset(tunnel::kStreamClientGone);
  stream_->stop(tunnel::kStreamClientGone);
}

net::Task<Opening::Result> Opening::wait(TimePoint deadline) {
  while (true) {
    read_first();
    send();
    if (gone_) co_return Result::kClientGone;
    if (is_answered()) co_return Result::kAnswered;
    if (!stream_->is_open()) co_return Result::kLost;
    if (socket_.loop().now() >= deadline) co_return Result::kSilent;
    co_await changed_.wait_until(deadline);
  }
}

// An answer of the agent's is proof too, refusals included.
bool Opening::is_answered() {
  return (sent_ == initial_.size() && stream_->answered()) || !stream_->readable().empty() ||
         stream_->finished() || stream_->was_reset() || stream_->was_stopped();
}

void Opening::send() {
  while (sent_ < initial_.size() && stream_->is_open()) {
    const size_t taken = stream_->write(ByteView(initial_).subspan(sent_));
    if (taken == 0) return;  // on_writable comes
    sent_ += taken;
    // What is asked for once is answered once, and for all that was written until then.
    stream_->notify_answered();
  }
}

void Opening::read_first() {
  if (!socket_.is_open()) gone_ = true;  // it was reset under us
  if (!wants_first_ || reading_ || gone_) return;
  const net::IoResult got = socket_.try_read(scratch_);
  auto again = [this] {
    reading_ = false;
    changed_.notify();
  };
  switch (got.status) {
    case net::IoStatus::kOk:
      wants_first_ = false;
      return add(scratch_.first(got.bytes));
    case net::IoStatus::kWantRead:
      reading_ = true;
      return socket_.when_readable(again);
    case net::IoStatus::kWantWrite:
      reading_ = true;
      return socket_.when_writable(again);
    case net::IoStatus::kEof:
      wants_first_ = false;  // it may still want to hear something
      return;
    case net::IoStatus::kError:
      gone_ = true;
      return;
  }
}

void Opening::add(ByteView first) {
  if (first.empty()) return;
  using enum tunnel::StreamKind;
  const bool is_held = kind_ == kTerminate ? !may_be_repeated(first) : kind_ == kTcpPort && !is_last_;
  Bytes& to = is_held ? held_ : initial_;
  to.insert(to.end(), first.begin(), first.end());
  if (kind_ == kTcpPort && !is_held) is_repeatable_ = false;
}

Bytes Opening::received() const {
  Bytes all(initial_.begin() + static_cast<ptrdiff_t>(header_size_), initial_.end());
  all.insert(all.end(), held_.begin(), held_.end());
  return all;
}

Opening::Taken Opening::take() {
  socket_.cancel();
  stream_->set_observer(nullptr);
  const bool is_repeatable = is_repeatable_ && held_.empty();
  initial_.insert(initial_.end(), held_.begin(), held_.end());
  return {std::move(stream_), std::move(initial_), header_size_, sent_, is_repeatable};
}

}  // namespace culvert::edge
