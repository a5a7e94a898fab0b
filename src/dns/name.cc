#include "dns/name.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/ascii.h"
#include "base/check.h"
#include "base/text.h"

namespace culvert::dns {
namespace {

constexpr uint8_t kPointer = 0xc0;
// A name of 255 bytes has at most 127 labels beside the root's.
constexpr size_t kMaxLabels = 127;
// Each label may be behind a pointer of its own. More of them only cost time.
constexpr size_t kMaxPointers = kMaxLabels + 1;

// Where the labels of a name begin; without the root's.
class Labels {
 public:
  explicit Labels(const std::string& wire) : wire_(wire) {
    for (size_t at = 0; wire[at] != 0; at += 1u + static_cast<uint8_t>(wire[at]))
      starts_[count_++] = static_cast<uint8_t>(at);
  }
  size_t size() const { return count_; }
  size_t start(size_t label) const { return starts_[label]; }
  std::string_view operator[](size_t label) const {
    const size_t at = starts_[label];
    return std::string_view(wire_).substr(at + 1, static_cast<uint8_t>(wire_[at]));
  }

 private:
  const std::string& wire_;
  std::array<uint8_t, kMaxLabels> starts_;
  size_t count_ = 0;
};

std::weak_ordering compare_labels(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return static_cast<uint8_t>(to_lower(c)); };
  return std::lexicographical_compare_three_way(
      a.begin(), a.end(), b.begin(), b.end(),
      [&](char x, char y) -> std::weak_ordering { return lower(x) <=> lower(y); });
}

// One character of a label, after `text[at]`, which is a backslash; nullopt: an escape that is incomplete.
std::optional<char> unescape(std::string_view text, size_t& at) {
  if (at + 1 >= text.size()) return std::nullopt;
  if (!is_digit(text[at + 1])) return text[++at];
  if (at + 3 >= text.size() || !is_digit(text[at + 2]) || !is_digit(text[at + 3])) return std::nullopt;
  const int value = (text[at + 1] - '0') * 100 + (text[at + 2] - '0') * 10 + (text[at + 3] - '0');
  at += 3;
  if (value > 255) return std::nullopt;
  return static_cast<char>(value);
}

std::unexpected<Error> invalid(std::string_view text, std::string_view fault) {
  return fail(ErrorCode::kInvalid, "invalid DNS name {}: {}", quoted(text), fault);
}

}  // namespace

Result<Name> Name::parse(std::string_view text) {
  if (text.empty()) return invalid(text, "it is empty");
  if (text == ".") return Name();
  std::string wire;
  std::string label;
  const auto end_label = [&] {
    wire += static_cast<char>(label.size());
    wire += label;
    label.clear();
  };
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '.') {
      if (label.empty()) return invalid(text, "it has a label that is empty");
      end_label();
      continue;
    }
    if (c == '\\') {
      const auto unescaped = unescape(text, at);
      if (!unescaped)
        return invalid(text, "a backslash needs a character or three digits up to 255 behind it");
      c = *unescaped;
    }
    label += c;
    if (label.size() > kMaxLabelSize) return invalid(text, "it has a label of more than 63 bytes");
  }
  if (!label.empty()) end_label();
  wire += '\0';
  if (wire.size() > kMaxSize) return invalid(text, "it has more than 255 bytes");
  return Name(std::move(wire));
}

std::optional<Name> Name::decode(ByteView message, size_t& offset) {
  std::string wire;
  size_t at = offset;
  size_t before = offset;  // pointers have to lead to an earlier place
  size_t pointers = 0;
  std::optional<size_t> end;
  while (at < message.size()) {
    const uint8_t length = message[at];
    if ((length & kPointer) == kPointer) {
      if (at + 1 >= message.size()) return std::nullopt;
      if (!end) end = at + 2;
      at = static_cast<size_t>(length & ~kPointer) << 8 | message[at + 1];
      if (at >= before || ++pointers > kMaxPointers) return std::nullopt;
      before = at;
      continue;
    }
    if (length > kMaxLabelSize || message.size() - at <= length) return std::nullopt;
    wire += as_text(message.subspan(at, 1u + length));
    if (wire.size() > kMaxSize) return std::nullopt;
    at += 1u + length;
    if (length != 0) continue;
    offset = end.value_or(at);
    return Name(std::move(wire));
  }
  return std::nullopt;
}

std::string Name::to_string() const {
  if (is_root()) return ".";
  std::string text;
  const Labels labels(wire_);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (i > 0) text += '.';
    for (const char c : labels[i]) {
      if (c == '.' || c == '\\') {
        text += '\\';
        text += c;
      } else if (c > ' ' && c <= '~') {
        text += c;
      } else {
        text += fmt::format("\\{:03}", static_cast<uint8_t>(c));
      }
    }
  }
  return text;
}

size_t Name::label_count() const { return Labels(wire_).size(); }

Name Name::suffix(size_t labels) const {
  const Labels all(wire_);
  CHECK(labels <= all.size());
  return labels == 0 ? Name() : Name(wire_.substr(all.start(all.size() - labels)));
}

Name Name::parent() const {
  CHECK(!is_root());
  return Name(wire_.substr(1u + static_cast<uint8_t>(wire_[0])));
}

bool Name::is_within(const Name& ancestor) const {
  const size_t own = label_count(), wanted = ancestor.label_count();
  return own >= wanted && suffix(wanted) == ancestor;
}

std::optional<Name> Name::wildcard() const {
  constexpr std::string_view kLabel = "\1*";
  if (wire_.size() + kLabel.size() > kMaxSize) return std::nullopt;
  return Name(std::string(kLabel) + wire_);
}

// A length is below 64, so it is not a letter.
Name Name::to_lower() const { return Name(culvert::to_lower(wire_)); }

bool Name::operator==(const Name& other) const {
  return std::ranges::equal(wire_, other.wire_,
                            [](char a, char b) { return culvert::to_lower(a) == culvert::to_lower(b); });
}

std::weak_ordering Name::operator<=>(const Name& other) const {
  const Labels mine(wire_), others(other.wire_);
  const size_t common = std::min(mine.size(), others.size());
  for (size_t i = 1; i <= common; ++i) {
    const auto order = compare_labels(mine[mine.size() - i], others[others.size() - i]);
    if (order != 0) return order;
  }
  return mine.size() <=> others.size();
}

}  // namespace culvert::dns
