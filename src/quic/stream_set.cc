#include "quic/stream_set.h"

#include <utility>
#include <vector>

#include "quic/core.h"

namespace culvert::quic {

void StreamSet::detach() {
  for (Stream* stream : registry_.objects()) stream->set_ = nullptr;
  reading_.release();
}

void StreamSet::forget(Stream& stream) {
  registry_.forget(stream);
  reading_.forget(stream);
  writing_.forget(stream);
}

std::shared_ptr<Stream> StreamSet::open(bool unidirectional) {
  if (!context_.is_open) return nullptr;
  const uint64_t id = core::cq_stream_open(context_.endpoint(), context_.core, unidirectional);
  if (id == core::kNoStream) return nullptr;
  std::shared_ptr<Stream> stream = registry_.add(this, id);
  stream->receive_.accepted = true;
  if (unidirectional) stream->receive_.stopped = stream->receive_.done = true;
  return stream;
}

// The core grants the peer another stream when one is closed, and a stream that was not accepted is not read
// and so not closed: what is pending here is bounded by the limit.
void StreamSet::accept_from_core(bool unidirectional) {
  uint64_t id;
  while ((id = core::cq_stream_accept(context_.endpoint(), context_.core, unidirectional)) !=
         core::kNoStream) {
    std::shared_ptr<Stream> stream = registry_.add(this, id);
    if (unidirectional) stream->send_.closed = stream->send_.done = true;
    reading_.on_opened(*stream);
    (unidirectional ? incoming_uni_ : incoming_bidi_).push_back(std::move(stream));
  }
}

std::shared_ptr<Stream> StreamSet::accept(bool unidirectional) {
  std::deque<std::shared_ptr<Stream>>& pending = unidirectional ? incoming_uni_ : incoming_bidi_;
  if (pending.empty()) return nullptr;
  std::shared_ptr<Stream> stream = std::move(pending.front());
  pending.pop_front();
  reading_.accept(*stream);
  return stream;
}

void StreamSet::take(const core::Event& event) {
  if (event.kind == core::EventKind::kOpened) return accept_from_core(event.id != 0);
  const std::shared_ptr<Stream> stream = registry_.find(event.id);
  if (stream == nullptr) return;
  switch (event.kind) {
    case core::EventKind::kReadable:
      return reading_.on_readable(*stream, event.value, event.code);
    case core::EventKind::kWritable:
      return writing_.on_writable(*stream);
    case core::EventKind::kFinished:
      return writing_.on_finished(*stream);
    case core::EventKind::kStopped:
      return writing_.on_stopped(*stream, event.code);
    default:
      return;
  }
}

void StreamSet::close() {
  const std::vector<std::shared_ptr<Stream>> left = registry_.take_objects();
  for (const std::shared_ptr<Stream>& stream : left) {
    reading_.keep_rest(*stream);
    stream->set_ = nullptr;
  }
  reading_.release();
  for (const std::shared_ptr<Stream>& stream : left) {
    Bytes().swap(stream->send_.pending);
    StreamObserver* writer = stream->writer_ == stream->reader_ ? nullptr : stream->writer_;
    if (stream->reader_ != nullptr) stream->reader_->on_closed();
    if (writer != nullptr && writer == stream->writer_) writer->on_closed();
  }
  registry_.clear();
  writing_.close();
  incoming_bidi_.clear();
  incoming_uni_.clear();
}

}  // namespace culvert::quic
