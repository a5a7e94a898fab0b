#pragma once
#include <deque>
#include <memory>

#include "quic/connection_host.h"
#include "quic/stream_reading.h"
#include "quic/stream_registry.h"
#include "quic/stream_writing.h"

namespace culvert::quic {

// All streams of one connection.
class StreamSet {
 public:
  StreamSet(ConnectionContext& context, Liveness& liveness)
      : context_(context), reading_(context, registry_), writing_(context, registry_, liveness) {}
  StreamSet(const StreamSet&) = delete;

  // nullptr at the peer's limit, or when the connection is not open.
  std::shared_ptr<Stream> open(bool unidirectional);
  // nullptr: none is pending.
  std::shared_ptr<Stream> accept(bool unidirectional);
  StreamReading& reading() { return reading_; }
  StreamWriting& writing() { return writing_; }
  const StreamReading& reading() const { return reading_; }
  const StreamWriting& writing() const { return writing_; }

  // Of the core, about streams.
  void take(const core::Event& event);
  bool has_notifications() const { return registry_.has_notifications(); }
  void dispatch() { registry_.dispatch(); }
  // The connection is over: each stream keeps what arrived, and its observers are told.
  void close();
  // The connection is being destroyed: no stream points here any more.
  void detach();
  // A stream object is being destroyed.
  void forget(Stream& stream);

 private:
  void accept_from_core(bool unidirectional);

  ConnectionContext& context_;
  StreamRegistry registry_;
  StreamReading reading_;
  StreamWriting writing_;
  std::deque<std::shared_ptr<Stream>> incoming_bidi_;
  std::deque<std::shared_ptr<Stream>> incoming_uni_;
};

}  // namespace culvert::quic
