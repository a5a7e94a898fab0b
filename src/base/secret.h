#pragma once
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crypto.h"
#include "base/random.h"

// Secrets in memory. They are wiped when they are destroyed, compared in constant time, and have no form for
// logs or messages: expose() is the only way out, so that a search for it finds all places where one leaves.
namespace culvert {

template <size_t kSize>
class SecretBytes {
 public:
  SecretBytes() = default;  // zeros
  // CHECKs the size.
  static SecretBytes from(ByteView bytes) {
    CHECK(bytes.size() == kSize);
    SecretBytes out;
    std::ranges::copy(bytes, out.bytes_.begin());
    return out;
  }
  static SecretBytes random(Random& random) {
    SecretBytes out;
    random.fill(out.bytes_);
    return out;
  }
  SecretBytes(const SecretBytes&) = default;
  SecretBytes& operator=(const SecretBytes&) = default;
  ~SecretBytes() { wipe(bytes_); }

  const std::array<uint8_t, kSize>& expose() const { return bytes_; }
  bool operator==(const SecretBytes& other) const { return equal_constant_time(bytes_, other.bytes_); }

 private:
  std::array<uint8_t, kSize> bytes_{};
};

// Overwrites all that the string has room for, and empties it.
inline void wipe_and_clear(std::string& text) {
  text.resize(text.capacity());
  wipe({reinterpret_cast<uint8_t*>(text.data()), text.size()});
  text.clear();
}
inline void wipe_and_clear(Bytes& bytes) {
  bytes.resize(bytes.capacity());
  wipe(bytes);
  bytes.clear();
}

class SecretString {
 public:
  SecretString() = default;
  // Implicit, since nothing leaks on the way in.
  SecretString(const char* text) : text_(text) {}
  explicit SecretString(std::string_view text) : text_(text) {}
  // Leaves no copy behind.
  static SecretString take(std::string&& text) {
    SecretString out;
    out.text_ = std::move(text);
    wipe_and_clear(text);
    return out;
  }
  SecretString(const SecretString&) = default;
  SecretString(SecretString&& other) noexcept : text_(std::move(other.text_)) { wipe_and_clear(other.text_); }
  SecretString& operator=(SecretString other) noexcept {
    text_.swap(other.text_);
    return *this;
  }
  ~SecretString() { wipe_and_clear(text_); }

  const std::string& expose() const { return text_; }
  bool empty() const { return text_.empty(); }
  bool operator==(const SecretString& other) const {
    return equal_constant_time(as_bytes(text_), as_bytes(other.text_));
  }

 private:
  std::string text_;
};

class SecretBuffer {
 public:
  SecretBuffer() = default;
  explicit SecretBuffer(Bytes&& bytes) : bytes_(std::move(bytes)) {}
  SecretBuffer(const SecretBuffer&) = default;
  SecretBuffer(SecretBuffer&&) noexcept = default;
  SecretBuffer& operator=(SecretBuffer other) noexcept {
    bytes_.swap(other.bytes_);
    return *this;
  }
  ~SecretBuffer() { wipe_and_clear(bytes_); }

  ByteView expose() const { return bytes_; }
  size_t size() const { return bytes_.size(); }

 private:
  Bytes bytes_;
};

// Wipes a buffer that others own (std::string, Bytes) at the end of the scope.
template <class Buffer>
class WipeAtEnd {
 public:
  explicit WipeAtEnd(Buffer& buffer) : buffer_(buffer) {}
  WipeAtEnd(const WipeAtEnd&) = delete;
  WipeAtEnd& operator=(const WipeAtEnd&) = delete;
  ~WipeAtEnd() { wipe_and_clear(buffer_); }

 private:
  Buffer& buffer_;
};

}  // namespace culvert
