#include "sim/hostile_frames.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace culvert::sim {

Bytes varint(uint64_t value) {
  const size_t size = value < 1u << 6 ? 1 : value < 1u << 14 ? 2 : value < 1u << 30 ? 4 : 8;
  return varint(value, size);
}

Bytes varint(uint64_t value, size_t size) {
  CHECK(size == 1 || size == 2 || size == 4 || size == 8);
  Bytes out(size);
  for (size_t i = size; i > 0; --i, value >>= 8) out[i - 1] = static_cast<uint8_t>(value);
  out[0] = static_cast<uint8_t>((out[0] & 0x3f) | std::countr_zero(size) << 6);
  return out;
}

std::optional<uint64_t> read_varint(ByteReader& reader) {
  if (reader.empty()) return std::nullopt;
  const size_t size = size_t{1} << (reader.rest()[0] >> 6);
  auto bytes = reader.take(size);
  if (!bytes) return std::nullopt;
  uint64_t value = (*bytes)[0] & 0x3f;
  for (uint8_t byte : bytes->subspan(1)) value = value << 8 | byte;
  return value;
}

Bytes concat(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (ByteView part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

namespace frames {
namespace {

Bytes integers(std::initializer_list<uint64_t> values) {
  Bytes out;
  for (uint64_t value : values) {
    const Bytes one = varint(value);
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

// Types that differ for IPv4 and IPv6 are one apart.
Bytes with_address(uint64_t type_v4, uint64_t number, const SocketAddr& address) {
  ByteWriter port;
  port.u16(address.port());
  return concat({integers({address.is_v4() ? type_v4 : type_v4 + 1, number}), address.ip(), port.view()});
}

Bytes eight(uint64_t type, uint64_t data) {
  ByteWriter writer;
  writer.bytes(varint(type));
  writer.u64(data);
  return writer.take();
}

}  // namespace

Bytes padding(size_t count) { return Bytes(count, 0); }
Bytes ping() { return {0x01}; }
Bytes ack_body(const std::vector<AckRange>& ranges, uint64_t delay) {
  CHECK(!ranges.empty());
  const AckRange& first = ranges.front();
  Bytes out = integers({first.largest, delay, ranges.size() - 1, first.largest - first.smallest});
  for (size_t i = 1; i < ranges.size(); ++i) {
    const uint64_t gap = ranges[i - 1].smallest - ranges[i].largest - 2;
    const Bytes next = integers({gap, ranges[i].largest - ranges[i].smallest});
    out.insert(out.end(), next.begin(), next.end());
  }
  return out;
}
Bytes ack(const std::vector<AckRange>& ranges, uint64_t delay) {
  return concat({integers({0x02}), ack_body(ranges, delay)});
}
Bytes reset_stream(uint64_t stream, uint64_t code, uint64_t final_size) {
  return integers({0x04, stream, code, final_size});
}
Bytes stop_sending(uint64_t stream, uint64_t code) { return integers({0x05, stream, code}); }
Bytes crypto(uint64_t offset, ByteView data) { return concat({integers({0x06, offset, data.size()}), data}); }
Bytes new_token(ByteView token) { return concat({integers({0x07, token.size()}), token}); }
Bytes stream(uint64_t stream, uint64_t offset, ByteView data, bool fin) {
  return concat({integers({fin ? 0x0fu : 0x0eu, stream, offset, data.size()}), data});
}
Bytes max_data(uint64_t limit) { return integers({0x10, limit}); }
Bytes max_stream_data(uint64_t stream, uint64_t limit) { return integers({0x11, stream, limit}); }
Bytes max_streams(bool bidirectional, uint64_t limit) {
  return integers({bidirectional ? 0x12u : 0x13u, limit});
}
Bytes data_blocked(uint64_t limit) { return integers({0x14, limit}); }
Bytes stream_data_blocked(uint64_t stream, uint64_t limit) { return integers({0x15, stream, limit}); }
Bytes streams_blocked(bool bidirectional, uint64_t limit) {
  return integers({bidirectional ? 0x16u : 0x17u, limit});
}
Bytes new_connection_id(uint64_t sequence, uint64_t retire_prior_to, ByteView id, ByteView token) {
  const uint8_t size = static_cast<uint8_t>(id.size());
  return concat({integers({0x18, sequence, retire_prior_to}), ByteView(&size, 1), id, token});
}
Bytes retire_connection_id(uint64_t sequence) { return integers({0x19, sequence}); }
Bytes path_challenge(uint64_t data) { return eight(0x1a, data); }
Bytes path_response(uint64_t data) { return eight(0x1b, data); }
Bytes connection_close(uint64_t code, uint64_t frame_type, std::string_view reason) {
  return concat({integers({0x1c, code, frame_type, reason.size()}), as_bytes(reason)});
}
Bytes application_close(uint64_t code, std::string_view reason) {
  return concat({integers({0x1d, code, reason.size()}), as_bytes(reason)});
}
Bytes handshake_done() { return {0x1e}; }
Bytes datagram(ByteView data) { return concat({integers({0x31, data.size()}), data}); }
Bytes path_ack(uint64_t path, const std::vector<AckRange>& ranges, uint64_t delay) {
  return concat({integers({0x3e, path}), ack_body(ranges, delay)});
}
Bytes path_abandon(uint64_t path, uint64_t code) { return integers({0x3e75, path, code}); }
Bytes path_status(uint64_t path, uint64_t sequence, bool backup) {
  return integers({backup ? 0x3e76u : 0x3e77u, path, sequence});
}
Bytes path_new_connection_id(uint64_t path, uint64_t sequence, uint64_t retire_prior_to, ByteView id,
                             ByteView token) {
  const uint8_t size = static_cast<uint8_t>(id.size());
  return concat({integers({0x3e78, path, sequence, retire_prior_to}), ByteView(&size, 1), id, token});
}
Bytes path_retire_connection_id(uint64_t path, uint64_t sequence) {
  return integers({0x3e79, path, sequence});
}
Bytes max_path_id(uint64_t path) { return integers({0x3e7a, path}); }
Bytes paths_blocked(uint64_t path) { return integers({0x3e7b, path}); }
Bytes path_cids_blocked(uint64_t path, uint64_t next_sequence) {
  return integers({0x3e7c, path, next_sequence});
}
Bytes add_address(uint64_t sequence, const SocketAddr& address) {
  return with_address(0x3d7f90, sequence, address);
}
Bytes reach_out(uint64_t round, const SocketAddr& address) { return with_address(0x3d7f92, round, address); }
Bytes remove_address(uint64_t sequence) { return integers({0x3d7f94, sequence}); }
Bytes observed_address(uint64_t sequence, const SocketAddr& address) {
  return with_address(0x9f81a6, sequence, address);
}
Bytes ack_frequency(uint64_t sequence, uint64_t threshold, uint64_t max_delay_us, uint64_t reordering) {
  return integers({0xaf, sequence, threshold, max_delay_us, reordering});
}
Bytes immediate_ack() { return integers({0x1f}); }
Bytes raw(uint64_t type, ByteView body) { return concat({varint(type), body}); }

}  // namespace frames

namespace {

// The integer fields of the frames that have nothing else; nullopt for other types.
std::optional<size_t> integer_fields(uint64_t type) {
  switch (type) {
    case 0x01:
    case 0x1f:
      return 0;
    case 0x04:
      return 3;
    case 0xaf:
      return 4;
    case 0x05:
    case 0x11:
    case 0x15:
    case 0x3e75:
    case 0x3e76:
    case 0x3e77:
    case 0x3e79:
    case 0x3e7c:
      return 2;
    case 0x10:
    case 0x12:
    case 0x13:
    case 0x14:
    case 0x16:
    case 0x17:
    case 0x19:
    case 0x3e7a:
    case 0x3e7b:
    case 0x3d7f94:
      return 1;
    default:
      return std::nullopt;
  }
}

// Reads fields one after the other; `ok` becomes false at the first that is missing.
struct FieldReader {
  ByteReader& reader;
  bool ok = true;

  uint64_t integer() {
    auto value = ok ? read_varint(reader) : std::nullopt;
    ok = value.has_value();
    return value.value_or(0);
  }
  Bytes take(uint64_t count) {
    auto view = ok ? reader.take(static_cast<size_t>(count)) : std::nullopt;
    ok = view.has_value();
    return ok ? to_bytes(*view) : Bytes();
  }
  uint64_t eight() {
    auto value = ok ? reader.u64() : std::nullopt;
    ok = value.has_value();
    return value.value_or(0);
  }
};

Frame parse_ack(FieldReader& in, bool with_path, bool with_ecn) {
  AckFrame frame{};
  if (with_path) frame.path = in.integer();
  frame.largest = in.integer();
  in.integer();  // delay
  const uint64_t ranges = in.integer();
  frame.first_range = in.integer();
  for (uint64_t i = 0; i < 2 * ranges && in.ok; ++i) in.integer();
  for (int i = 0; i < 3 && with_ecn; ++i) in.integer();
  return frame;
}

Frame parse_stream(FieldReader& in, uint64_t type) {
  StreamFrame frame{};
  frame.stream = in.integer();
  frame.offset = (type & 4) != 0 ? in.integer() : 0;
  frame.data = in.take((type & 2) != 0 ? in.integer() : in.reader.rest().size());
  frame.fin = (type & 1) != 0;
  return frame;
}

Frame parse_close(FieldReader& in, bool application) {
  ConnectionCloseFrame frame{};
  frame.application = application;
  frame.code = in.integer();
  frame.frame_type = application ? 0 : in.integer();
  frame.reason = std::string(as_text(in.take(in.integer())));
  return frame;
}

Frame parse_new_connection_id(FieldReader& in, bool with_path) {
  NewConnectionIdFrame frame{};
  if (with_path) frame.path = in.integer();
  frame.sequence = in.integer();
  frame.retire_prior_to = in.integer();
  const Bytes size = in.take(1);
  frame.id = in.take(in.ok ? size[0] : 0);
  frame.token = in.take(16);
  return frame;
}

std::optional<Frame> parse_frame(ByteReader& reader) {
  FieldReader in{reader};
  const uint64_t type = in.integer();
  std::optional<Frame> frame;
  if (auto count = integer_fields(type)) {
    OtherFrame other{type, {}, {}};
    for (size_t i = 0; i < *count; ++i) other.fields.push_back(in.integer());
    frame = other;
  } else if (type == 0x02 || type == 0x03 || type == 0x3e || type == 0x3f) {
    frame = parse_ack(in, type >= 0x3e, (type & 1) != 0);
  } else if (type == 0x06) {
    const uint64_t offset = in.integer();
    frame = CryptoFrame{offset, in.take(in.integer())};
  } else if (type == 0x07) {
    frame = OtherFrame{type, {}, in.take(in.integer())};
  } else if (type >= 0x08 && type <= 0x0f) {
    frame = parse_stream(in, type);
  } else if (type == 0x18 || type == 0x3e78) {
    frame = parse_new_connection_id(in, type == 0x3e78);
  } else if ((type >= 0x3d7f90 && type <= 0x3d7f93) || type == 0x9f81a6 || type == 0x9f81a7) {
    const uint64_t number = in.integer();
    frame = OtherFrame{type, {number}, in.take((type & 1) != 0 ? 18 : 6)};
  } else if (type == 0x1a) {
    frame = PathChallengeFrame{in.eight()};
  } else if (type == 0x1b) {
    frame = PathResponseFrame{in.eight()};
  } else if (type == 0x1c || type == 0x1d) {
    frame = parse_close(in, type == 0x1d);
  } else if (type == 0x1e) {
    frame = HandshakeDoneFrame{};
  } else if (type == 0x30 || type == 0x31) {
    frame = OtherFrame{type, {}, in.take(type == 0x31 ? in.integer() : reader.rest().size())};
  }
  return in.ok ? frame : std::nullopt;
}

}  // namespace

std::optional<std::vector<Frame>> parse_frames(ByteView payload) {
  std::vector<Frame> out;
  ByteReader reader(payload);
  while (!reader.empty()) {
    if (reader.rest()[0] == 0) {
      reader.u8();
      continue;
    }
    auto frame = parse_frame(reader);
    if (!frame) return std::nullopt;
    out.push_back(std::move(*frame));
  }
  return out;
}

bool is_ack_eliciting(const Frame& frame) {
  return !std::holds_alternative<AckFrame>(frame) && !std::holds_alternative<ConnectionCloseFrame>(frame);
}

}  // namespace culvert::sim
