#include "agent/http_tap.h"

namespace culvert::agent {
namespace {

using Event = http::H1Decoder::Event;

// Ready for a terminal: nothing outside visible ASCII, bounded.
std::string visible(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, HttpTap::kMaxShown)) {
    if (c > 0x20 && c < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > HttpTap::kMaxShown) out += "...";
  return out;
}

}  // namespace

HttpTap::HttpTap(std::string host, Report report) : host_(std::move(host)), report_(std::move(report)) {}

void HttpTap::request_bytes(ByteView bytes, TimePoint now) {
  while (!quiet_) {
    switch (requests_.next(bytes)) {
      case Event::kHead:
        on_request(now);
        break;
      // What cannot be followed ends nothing here: the answers to the requests before it are still to come.
      case Event::kMore:
      case Event::kOpaque:
      case Event::kError:
        return;
      default:
        break;
    }
  }
}

void HttpTap::response_bytes(ByteView bytes, TimePoint now) {
  while (!quiet_) {
    switch (responses_.next(bytes)) {
      case Event::kMore:
        return;
      case Event::kHead:
        on_response(now);
        break;
      case Event::kInterim:
        if (pending_.empty()) go_quiet();
        break;
      case Event::kOpaque:
      case Event::kError:
        go_quiet();
        break;
      default:
        break;
    }
  }
}

void HttpTap::closed(TimePoint now) {
  while (!pending_.empty()) {
    Pending pending = std::move(pending_.front());
    pending_.pop_front();
    report(pending, 0, now);
  }
  go_quiet();
}

size_t HttpTap::buffered() const {
  size_t total = requests_.buffered() + responses_.buffered();
  for (const Pending& pending : pending_) total += pending.method.size() + pending.target.size();
  return total;
}

void HttpTap::on_request(TimePoint now) {
  if (pending_.size() == kMaxPending) return go_quiet();
  const http::RequestHead& head = requests_.request();
  pending_.push_back({visible(head.method), visible(head.target), now});
  expect_next();
}

void HttpTap::on_response(TimePoint now) {
  if (pending_.empty()) return go_quiet();
  Pending pending = std::move(pending_.front());
  pending_.pop_front();
  expect_next();
  report(pending, responses_.response().status, now);
}

// Where an answer ends depends on what was asked.
void HttpTap::expect_next() {
  if (!pending_.empty()) responses_.answer_to(pending_.front().method);
}

void HttpTap::report(const Pending& pending, int status, TimePoint now) {
  report_(RequestLine{.host = host_,
                      .method = pending.method,
                      .target = pending.target,
                      .status = status,
                      .duration = now - pending.began});
}

void HttpTap::go_quiet() {
  quiet_ = true;
  pending_.clear();
  requests_.stop();
  responses_.stop();
}

}  // namespace culvert::agent
