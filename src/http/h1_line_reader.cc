#include "http/h1_line_reader.h"

#include <algorithm>

#include "base/secret.h"

namespace culvert::http {
namespace {

constexpr size_t kEndKept = 10;  // " HTTP/1.1" and a carriage return

}  // namespace

void H1LineReader::clear() {
  wipe_and_clear(begun_);
  end_.clear();
  line_ = {};
  is_done_ = false;
}

H1LineReader::Outcome H1LineReader::take(ByteView& input, size_t room) {
  if (is_done_) clear();
  if (input.empty()) return Outcome::kMore;
  const std::string_view text = as_text(input);
  const size_t line_feed = text.find('\n');
  const bool is_complete = line_feed != text.npos;
  std::string_view piece = text.substr(0, line_feed);
  const size_t taken = is_complete ? line_feed + 1 : text.size();
  if (rules_ == H1Rules::kStrict) {
    // What is wrong within the cap is told before the cap is: it is the same however the bytes arrive.
    if (!check(piece.substr(0, room), is_complete && taken <= room)) return Outcome::kMalformed;
    if (taken > room) return Outcome::kTooLong;
  }
  input = input.subspan(taken);
  if (!is_complete || !begun_.empty() || piece.size() > kMaxObserved) {
    keep(piece);
    if (!is_complete) return Outcome::kMore;
    is_done_ = true;
    piece = begun_;
    if (end_.ends_with('\r')) {
      end_.pop_back();
    } else if (end_.empty() && piece.ends_with('\r')) {
      piece.remove_suffix(1);
    }
  } else if (piece.ends_with('\r')) {
    piece.remove_suffix(1);
  }
  line_ = piece;
  return Outcome::kLine;
}

// Before the line is complete, so that a TLS record or a head with bare line feeds is refused at once.
bool H1LineReader::check(std::string_view piece, bool is_complete) {
  bool after_return = begun_.ends_with('\r');
  for (const char c : piece) {
    if (after_return) {
      fault_ = "a carriage return without line feed";
      return false;
    }
    after_return = c == '\r';
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\r' && c != '\t') || c == 0x7f) {
      fault_ = "a control character in its head or framing";
      return false;
    }
  }
  if (is_complete && !after_return) fault_ = "a line feed without carriage return";
  return !is_complete || after_return;
}

void H1LineReader::keep(std::string_view piece) {
  if (rules_ == H1Rules::kStrict) {  // which bounds the line by `room`
    begun_.append(piece);
    return;
  }
  const size_t fits = std::min(piece.size(), kMaxObserved - begun_.size());
  begun_.append(piece.substr(0, fits));
  piece.remove_prefix(fits);
  if (piece.empty()) return;
  end_.append(piece.substr(piece.size() - std::min(piece.size(), kEndKept)));
  if (end_.size() > kEndKept) end_.erase(0, end_.size() - kEndKept);
}

}  // namespace culvert::http
