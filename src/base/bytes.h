#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culvert {

using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ByteView view) { return {view.begin(), view.end()}; }

// Reads big-endian fields from untrusted bytes; a read past the end yields nullopt and consumes nothing.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : rest_(bytes) {}

  std::optional<uint8_t> u8() { return number<uint8_t>(1); }
  std::optional<uint16_t> u16() { return number<uint16_t>(2); }
  std::optional<uint32_t> u24() { return number<uint32_t>(3); }
  std::optional<uint32_t> u32() { return number<uint32_t>(4); }
  std::optional<uint64_t> u64() { return number<uint64_t>(8); }
  std::optional<ByteView> take(size_t count) {
    if (rest_.size() < count) return std::nullopt;
    ByteView head = rest_.first(count);
    rest_ = rest_.subspan(count);
    return head;
  }
  ByteView rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

 private:
  template <class T>
  std::optional<T> number(size_t width) {
    auto field = take(width);
    if (!field) return std::nullopt;
    uint64_t value = 0;
    for (uint8_t byte : *field) value = value << 8 | byte;
    return static_cast<T>(value);
  }

  ByteView rest_;
};

// Appends big-endian fields.
class ByteWriter {
 public:
  void u8(uint8_t value) { out_.push_back(value); }
  void u16(uint16_t value) { number(value, 2); }
  void u24(uint32_t value) { number(value, 3); }
  void u32(uint32_t value) { number(value, 4); }
  void u64(uint64_t value) { number(value, 8); }
  void bytes(ByteView view) { out_.insert(out_.end(), view.begin(), view.end()); }
  // Overwrites two bytes written before, for lengths known only afterwards.
  void patch_u16(size_t offset, uint16_t value) {
    out_.at(offset) = static_cast<uint8_t>(value >> 8);
    out_.at(offset + 1) = static_cast<uint8_t>(value);
  }
  size_t size() const { return out_.size(); }
  const Bytes& view() const { return out_; }
  Bytes take() { return std::move(out_); }

 private:
  void number(uint64_t value, int width) {
    for (int shift = (width - 1) * 8; shift >= 0; shift -= 8)
      out_.push_back(static_cast<uint8_t>(value >> shift));
  }

  Bytes out_;
};

}  // namespace culvert
