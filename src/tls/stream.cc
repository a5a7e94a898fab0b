#include "tls/stream.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace culvert::tls {
namespace {

// RFC 8446, 5.1. Written one by one: what the socket refuses of one is kept, the next is not sealed until
// that left.
constexpr size_t kMaxRecord = 16384;
// A record and the handshake messages behind it. Only a peer that asks for new keys again and again without
// reading gets here.
constexpr size_t kMaxUnsent = 64 * 1024;

}  // namespace

Stream::Stream(std::unique_ptr<net::ByteStream> transport, Bytes received, SSL_CTX* context)
    : transport_(std::move(transport)), received_(std::move(received)), ssl_(SSL_new(context)) {
  BIO* bio = BIO_new(bio_method());
  CHECK(ssl_ && bio);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
}

const BIO_METHOD* Stream::bio_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "culvert");
    CHECK(made && BIO_meth_set_read_ex(made, bio_read) && BIO_meth_set_write_ex(made, bio_write) &&
          BIO_meth_set_ctrl(made, bio_control));
    return made;
  }();
  return method;
}

int Stream::bio_read(BIO* bio, char* into, size_t size, size_t* count) {
  auto* self = static_cast<Stream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const MutableBytes target(reinterpret_cast<uint8_t*>(into), size);
  if (self->received_served_ < self->received_.size()) {
    *count = std::min(size, self->received_.size() - self->received_served_);
    std::copy_n(self->received_.begin() + static_cast<ptrdiff_t>(self->received_served_), *count,
                target.begin());
    self->received_served_ += *count;
    if (self->received_served_ == self->received_.size()) {
      self->received_ = {};
      self->received_served_ = 0;
    }
    return 1;
  }
  const net::IoResult result = self->transport_->try_read(target);
  *count = result.bytes;
  if (result.status == net::IoStatus::kOk) return 1;
  if (result.status == net::IoStatus::kWantRead) BIO_set_retry_read(bio);
  if (result.status == net::IoStatus::kEof) self->transport_eof_ = true;
  if (result.status == net::IoStatus::kError) self->transport_failed_ = true;
  return 0;
}

int Stream::bio_write(BIO* bio, const char* from, size_t size, size_t* count) {
  auto* self = static_cast<Stream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const ByteView data(reinterpret_cast<const uint8_t*>(from), size);
  net::IoResult result{net::IoStatus::kWantWrite};
  if (self->unsent_.empty()) result = self->transport_->try_write(data);
  *count = result.bytes;
  if (result.status == net::IoStatus::kOk) return 1;
  if (result.status == net::IoStatus::kError) {
    self->transport_failed_ = true;
    return 0;
  }
  if (self->unsent_.size() + size > kMaxUnsent) {
    self->overrun_ = true;
    return 0;
  }
  self->unsent_.insert(self->unsent_.end(), data.begin(), data.end());
  *count = size;
  return 1;
}

long Stream::bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return static_cast<Stream*>(BIO_get_data(bio))->transport_eof_;
  return 0;
}

// What a failed SSL call means. kError is for good: `error_` says why.
net::IoStatus Stream::explain(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return net::IoStatus::kWantRead;
    case SSL_ERROR_ZERO_RETURN:
      return net::IoStatus::kEof;
    default:
      break;
  }
  broken_ = true;
  if (transport_failed_) {
    error_ = transport_->last_error();
    ERR_clear_error();
  } else if (transport_eof_) {
    transport_failed_ = true;
    error_ = "the peer ended the connection without a close_notify";
    ERR_clear_error();
  } else if (overrun_) {
    error_ = "the peer does not read";
    ERR_clear_error();
  } else {
    name_refused_ = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_TLSV1_UNRECOGNIZED_NAME;
    error_ = take_openssl_error();
  }
  return net::IoStatus::kError;
}

// Sends what the socket refused before: kOk, kWantWrite or kError.
net::IoStatus Stream::flush() {
  while (!unsent_.empty()) {
    const net::IoResult result = transport_->try_write(ByteView(unsent_).subspan(unsent_sent_));
    if (result.status == net::IoStatus::kWantWrite) return result.status;
    if (result.status == net::IoStatus::kError) {
      broken_ = transport_failed_ = true;
      unsent_ = {};
      return result.status;
    }
    unsent_sent_ += result.bytes;
    if (unsent_sent_ == unsent_.size()) {
      unsent_ = {};
      unsent_sent_ = 0;
    }
  }
  return net::IoStatus::kOk;
}

// The owner may never call again for bytes that it was told are written.
void Stream::flush_later() {
  if (!unsent_.empty()) watch_writable();
}

net::IoStatus Stream::try_handshake() {
  if (broken_) return net::IoStatus::kError;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  const net::IoStatus status = result == 1 ? net::IoStatus::kOk : explain(result);
  flush_later();
  return status;
}

net::IoResult Stream::try_read(MutableBytes into) {
  CHECK(!into.empty());
  if (read_end_ != net::IoStatus::kOk) return {read_end_};
  if (broken_) return {net::IoStatus::kError};
  read_starved_ = false;
  size_t total = 0;
  while (total < into.size()) {
    ERR_clear_error();
    size_t count = 0;
    const int result = SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &count);
    if (result != 1) {
      const net::IoStatus status = explain(result);
      read_starved_ = status == net::IoStatus::kWantRead;
      if (!read_starved_) read_end_ = status;
      break;
    }
    total += count;
  }
  flush_later();
  if (total > 0) return {net::IoStatus::kOk, total};
  return {read_starved_ ? net::IoStatus::kWantRead : read_end_};
}

net::IoResult Stream::try_write(std::span<const ByteView> from) {
  CHECK(!from.empty());
  if (broken_) return {net::IoStatus::kError};
  if (const net::IoStatus status = flush(); status != net::IoStatus::kOk) return {status};
  size_t total = 0;
  size_t part = 0;
  size_t offset = 0;  // in that part
  while (part < from.size() && unsent_.empty() && !broken_) {
    // Small parts share a record: each costs its own header, tag and nonce.
    thread_local std::array<uint8_t, kMaxRecord> joined;
    ByteView record = from[part].subspan(offset);
    if (record.size() < kMaxRecord && part + 1 < from.size()) {
      size_t size = 0;
      size_t skip = offset;
      for (size_t i = part; i < from.size() && size < joined.size(); ++i, skip = 0) {
        const ByteView more = from[i].subspan(skip);
        const size_t count = std::min(more.size(), joined.size() - size);
        std::copy_n(more.begin(), count, joined.begin() + static_cast<ptrdiff_t>(size));
        size += count;
      }
      record = ByteView(joined).first(size);
    }
    size_t count = write_record(record.first(std::min(kMaxRecord, record.size())));
    total += count;
    for (; part < from.size() && count >= from[part].size() - offset; ++part, offset = 0) {
      count -= from[part].size() - offset;
    }
    offset += count;
  }
  flush_later();
  if (total > 0) return {net::IoStatus::kOk, total};
  return {net::IoStatus::kError};
}

// How many bytes were sealed; 0 when the connection broke.
size_t Stream::write_record(ByteView record) {
  ERR_clear_error();
  size_t count = 0;
  if (SSL_write_ex(ssl_.get(), record.data(), record.size(), &count) == 1) return count;
  // Without renegotiation a write never waits for the peer, and the BIO never blocks.
  explain(0);
  broken_ = true;
  return 0;
}

net::IoResult Stream::try_finish() {
  if (broken_) return {net::IoStatus::kError};
  if (!finished_) {
    ERR_clear_error();
    const int result = SSL_shutdown(ssl_.get());
    if (result < 0) {
      explain(result);
      broken_ = true;
      return {net::IoStatus::kError};
    }
    finished_ = true;
  }
  if (const net::IoStatus status = flush(); status != net::IoStatus::kOk) return {status};
  return transport_->try_finish();
}

void Stream::when_readable(net::ReadyCallback callback) {
  const bool holds_bytes = !received_.empty() || SSL_has_pending(ssl_.get()) == 1;
  if (read_end_ != net::IoStatus::kOk || (holds_bytes && !read_starved_)) {
    transport_->soon_readable(std::move(callback));
  } else {
    transport_->when_readable(std::move(callback));
  }
}

void Stream::when_writable(net::ReadyCallback callback) {
  CHECK(!writable_);
  writable_ = std::move(callback);
  watch_writable();
}

void Stream::cancel() {
  transport_->cancel();
  watching_writable_ = false;
  const net::ReadyCallback dropped = std::exchange(writable_, nullptr);
  flush_later();
}

void Stream::leave_loop() {
  transport_->cancel();  // a flush may be under way
  watching_writable_ = false;
  transport_->leave_loop();
}

void Stream::join_loop(net::EventLoop& loop) {
  transport_->join_loop(loop);
  flush_later();
}

void Stream::watch_writable() {
  if (watching_writable_) return;
  watching_writable_ = true;
  transport_->when_writable([this] {
    watching_writable_ = false;
    if (flush() == net::IoStatus::kWantWrite) {
      watch_writable();
    } else if (auto callback = std::exchange(writable_, nullptr)) {
      callback();  // may destroy this
    }
  });
}

}  // namespace culvert::tls
