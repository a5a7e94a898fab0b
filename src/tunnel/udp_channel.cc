#include "tunnel/udp_channel.h"

#include <algorithm>
#include <utility>

#include "tunnel/protocol.h"

namespace culvert::tunnel {

UdpChannel::UdpChannel(UdpChannels& channels, endpoint::StreamPtr stream, Side side, Owner& owner)
    : channels_(channels), stream_(std::move(stream)), owner_(owner), is_ready_(side == Side::kAgent) {
  channels_.channels_[id()] = this;
  stream_->set_observer(this);
}

UdpChannel::~UdpChannel() {
  stream_->set_observer(nullptr);
  channels_.channels_.erase(id());
  if (!stream_->is_open()) return;
  stream_->finish();
  stream_->stop(kStreamOk);
}

void UdpChannel::start(ByteView begun) {
  (void)write(UdpReady());
  if (read(begun)) on_readable();
}

void UdpChannel::reset(endpoint::AppCode code) {
  if (!stream_->is_open()) return;
  stream_->reset(code);
  stream_->stop(code);
}

UdpChannel::Sent UdpChannel::send(const UdpDatagram& datagram) {
  if (!is_ready_) return write(datagram) ? Sent::kInStream : Sent::kStreamStalled;
  encode_udp_datagram(id(), datagram, channels_.scratch_);
  auto sent = channels_.connection_->send_datagram(channels_.scratch_);
  if (sent) return Sent::kAsDatagram;
  if (sent.error().code == ErrorCode::kUnavailable) return Sent::kQueueFull;
  return write(datagram) ? Sent::kInStream : Sent::kStreamStalled;
}

void UdpChannel::send_forgotten(uint64_t flow) { (void)write(UdpForgotten{flow}); }

// False: it was dropped.
bool UdpChannel::write(const UdpFrame& frame) {
  if (!rest_.empty()) return false;
  encode_udp_frame(frame, channels_.scratch_);
  const size_t taken = stream_->write(channels_.scratch_);
  if (taken == 0) return false;
  const ByteView rest = ByteView(channels_.scratch_).subspan(taken);
  rest_.assign(rest.begin(), rest.end());
  return true;
}

void UdpChannel::on_writable() {
  if (stream_->was_stopped()) return end();
  const size_t taken = stream_->write(rest_);
  rest_.erase(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(taken));
}

void UdpChannel::on_readable() {
  while (true) {
    const ByteView ready = stream_->readable();
    if (ready.empty()) break;
    const size_t size = ready.size();
    if (!read(ready)) return;
    stream_->consume(size);
  }
  owner_.on_batch_end();
  if (stream_->finished() || stream_->was_reset()) end();
}

// False: it has ended.
bool UdpChannel::read(ByteView bytes) {
  while (true) {
    auto frame = reader_.next();
    if (!frame) {
      reset(kStreamBadHeader);
      end();
      return false;
    }
    if (*frame) {
      if (const auto* datagram = std::get_if<UdpDatagram>(&**frame)) owner_.on_datagram(*datagram);
      if (const auto* forgotten = std::get_if<UdpForgotten>(&**frame)) owner_.on_forgotten(forgotten->flow);
      if (std::holds_alternative<UdpReady>(**frame)) is_ready_ = true;
      if (is_ended_) return false;
    } else if (bytes.empty()) {
      return true;
    }
    bytes = bytes.subspan(reader_.feed(bytes));
  }
}

void UdpChannel::end() {
  if (std::exchange(is_ended_, true)) return;
  owner_.on_ended();
}

UdpChannels::UdpChannels(endpoint::ConnectionPtr connection, OnDropped on_dropped)
    : connection_(std::move(connection)), on_dropped_(std::move(on_dropped)) {
  connection_->set_on_datagrams([this] { receive(); });
}

UdpChannels::~UdpChannels() { connection_->set_on_datagrams({}); }

void UdpChannels::receive() {
  while (const auto bytes = connection_->try_receive_datagram()) {
    const auto decoded = decode_udp_datagram(*bytes);
    const auto found = decoded ? channels_.find(decoded->channel) : channels_.end();
    if (found == channels_.end()) {
      on_dropped_();
      continue;
    }
    if (std::ranges::find(touched_, decoded->channel) == touched_.end()) touched_.push_back(decoded->channel);
    found->second->owner_.on_datagram(decoded->datagram);
  }
  for (const uint64_t id : std::exchange(touched_, {})) {
    const auto found = channels_.find(id);
    if (found != channels_.end()) found->second->owner_.on_batch_end();
  }
}

}  // namespace culvert::tunnel
