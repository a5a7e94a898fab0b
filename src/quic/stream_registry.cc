#include "quic/stream_registry.h"

#include <utility>

namespace culvert::quic {

std::shared_ptr<Stream> StreamRegistry::add(StreamSet* set, StreamId id) {
  std::shared_ptr<Stream> stream(new Stream(set, id));
  streams_.emplace(id, stream);
  objects_.insert(stream.get());
  return stream;
}

std::shared_ptr<Stream> StreamRegistry::find(StreamId id) const {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

void StreamRegistry::forget_if_done(Stream& stream) {
  if (stream.send_.done && stream.receive_.done) streams_.erase(stream.id_);
}

void StreamRegistry::mark_readable(Stream& stream) {
  stream.notify_readable_ = true;
  list(stream);
}

void StreamRegistry::mark_writable(Stream& stream) {
  stream.send_.wants_writable = false;
  stream.notify_writable_ = true;
  list(stream);
}

void StreamRegistry::list(Stream& stream) {
  if (stream.listed_) return;
  stream.listed_ = true;
  notifications_.push_back(stream.shared_from_this());
}

void StreamRegistry::dispatch() {
  for (const std::shared_ptr<Stream>& stream : std::exchange(notifications_, {})) {
    stream->listed_ = false;
    const bool readable = std::exchange(stream->notify_readable_, false);
    const bool writable = std::exchange(stream->notify_writable_, false);
    if (readable && stream->reader_ != nullptr) stream->reader_->on_readable();
    if (writable && stream->writer_ != nullptr) stream->writer_->on_writable();
  }
}

std::vector<std::shared_ptr<Stream>> StreamRegistry::take_objects() {
  std::vector<std::shared_ptr<Stream>> all;
  for (Stream* stream : objects_) all.push_back(stream->shared_from_this());
  objects_.clear();
  return all;
}

}  // namespace culvert::quic
