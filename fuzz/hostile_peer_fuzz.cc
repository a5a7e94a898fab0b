#include <algorithm>

#include "base/check.h"
#include "sim/hostile_world.h"

// A program for a hostile peer, executed against an engine. Everything but the victim's TLS keys follows from
// it.
//
//   byte 0        bit 0: the peer is a server; bit 1: the program starts during the handshake; bit 2: the
//   peer
//                 negotiates no extensions
//   byte 1        number of edits of handshake messages, then four bytes each:
//                 message type, kind of edit, position, value
//   rest          operations: one byte and its arguments, see run_operation()
namespace {

using culvert::ByteReader;
using culvert::Bytes;
using culvert::ByteView;
using namespace culvert::sim;
using namespace std::chrono_literals;

constexpr int kMaxOperations = 200;
constexpr int kMaxAddresses = 16;
constexpr uint32_t kMaxPaths = 16;

// Reads on past the end as zeros.
class Program {
 public:
  explicit Program(ByteView input) : reader_(input) {}
  bool empty() const { return reader_.empty(); }
  uint8_t u8() { return reader_.u8().value_or(0); }
  uint64_t integer() { return read_varint(reader_).value_or(0); }
  Bytes bytes() {
    const size_t size = std::min<size_t>(u8(), reader_.rest().size());
    return culvert::to_bytes(*reader_.take(size));
  }
  Level level() { return static_cast<Level>(u8() % kLevels); }
  culvert::SocketAddr address() {
    const auto last = u8();
    return culvert::SocketAddr::v4({198, 51, 100, last}, last);
  }

 private:
  ByteReader reader_;
};

struct Edit {
  uint8_t message_type;
  uint8_t kind;
  uint8_t position;
  uint8_t value;

  Bytes apply(Bytes message) const {
    const size_t at = position % message.size();
    switch (kind % 6) {
      case 0:
        message[at] = value;
        return message;
      case 1:
        message[at] ^= value;
        return message;
      case 2:
        return {};
      case 3:
        return concat({message, message});
      case 4:  // cut, with the right length
        return tls::message(message[0],
                            ByteView(message).subspan(4, std::min<size_t>(at, message.size() - 4)));
      default:
        return concat({message, tls::message(value, Bytes(position))});
    }
  }
};

// Frames of the extensions.
Bytes make_extension_frame(Program& program, HostilePeer& peer) {
  const uint8_t kind = program.u8();
  const uint64_t a = program.integer();
  const uint64_t b = program.integer();
  switch (kind % 15) {
    case 0:
      return frames::path_ack(a % kMaxPaths, {{std::min(b, a), std::max(b, a)}}, program.u8());
    case 1:
      return frames::path_abandon(a, b);
    case 2:
      return frames::path_status(a, b, kind >= 128);
    case 3:
      return frames::path_new_connection_id(a, b, program.integer(), Bytes(8, static_cast<uint8_t>(a)),
                                            Bytes(16, static_cast<uint8_t>(b)));
    case 4:
      return frames::path_retire_connection_id(a, b);
    case 5:
      return frames::max_path_id(a);
    case 6:
      return frames::paths_blocked(a);
    case 7:
      return frames::path_cids_blocked(a, b);
    case 8:
      return frames::add_address(a, program.address());
    case 9:
      return frames::reach_out(a, program.address());
    case 10:
      return frames::remove_address(a);
    case 11:
      return frames::observed_address(a, program.address());
    case 12:
      return frames::ack_frequency(a, b, program.integer(), program.integer());
    case 13:
      return frames::immediate_ack();
    default:
      return peer.issue_path_id(static_cast<uint32_t>(a % kMaxPaths), b);
  }
}

// Frames that are well-formed more often than raw bytes are.
Bytes make_frame(Program& program) {
  const uint8_t kind = program.u8();
  const uint64_t a = program.integer();
  const uint64_t b = program.integer();
  switch (kind % 14) {
    case 0:
      return frames::stream(a, b, program.bytes(), kind >= 128);
    case 1:
      return frames::reset_stream(a, b, program.integer());
    case 2:
      return frames::stop_sending(a, b);
    case 3:
      return frames::crypto(a, program.bytes());
    case 4:
      return frames::max_data(a);
    case 5:
      return frames::max_stream_data(a, b);
    case 6:
      return frames::max_streams(kind >= 128, a);
    case 7:
      return frames::new_connection_id(a, b, Bytes(8, static_cast<uint8_t>(a)),
                                       Bytes(16, static_cast<uint8_t>(a)));
    case 8:
      return frames::retire_connection_id(a);
    case 9:
      return frames::path_challenge(a);
    case 10:
      return frames::path_response(a);
    case 11:
      return frames::ack({{std::min(a, b), std::max(a, b)}}, program.u8());
    case 12:
      return frames::datagram(program.bytes());
    default:
      return kind >= 128 ? frames::application_close(a) : frames::connection_close(a, b);
  }
}

void run_operation(Program& program, HostileWorld& world, HostilePeer& peer,
                   const std::vector<culvert::SocketAddr>& addresses) {
  switch (program.u8() % 18) {
    case 14:
      return peer.send(Level::kOneRtt, make_extension_frame(program, peer));
    case 15: {
      const uint32_t path = program.u8() % kMaxPaths;
      const culvert::SocketAddr& source = addresses[program.u8() % addresses.size()];
      return peer.send_on_path(path, source,
                               concat({make_frame(program), make_extension_frame(program, peer)}));
    }
    case 16: {
      const uint32_t path = program.u8() % kMaxPaths;
      const culvert::SocketAddr& source = addresses[program.u8() % addresses.size()];
      peer.skip_numbers(path, program.integer() % (uint64_t{1} << 31));
      return peer.send_on_path(path, source, program.bytes());
    }
    case 17:
      return peer.acknowledge();
    case 0: {
      const Level level = program.level();
      return peer.send(level, program.bytes());
    }
    case 1: {
      const Level level = program.level();
      return peer.send(level, make_frame(program));
    }
    case 2: {
      const Level level = program.level();
      const uint8_t type = program.u8();
      return peer.send_tls(level, tls::message(type, program.bytes()));
    }
    case 3: {
      const Level level = program.level();
      return peer.send_tls(level, program.bytes());
    }
    case 4:
      return peer.update_keys();
    case 5:  // 1 us to 134 s
      return world.run_for(1us * (int64_t{1} << program.u8() % 28));
    case 6:
      return peer.set_source(addresses[program.u8() % addresses.size()]);
    case 7:
      CHECK(world.run());
      return;
    case 8: {
      const Level level = program.level();
      return peer.set_next_number(level, program.integer());
    }
    case 9: {
      const uint8_t bits = program.u8();
      peer.set_acknowledging((bits & 1) != 0);
      peer.set_answering_path_challenges((bits & 2) != 0);
      return peer.set_following_key_updates((bits & 4) != 0);
    }
    case 10:
      return peer.send_datagram(program.bytes());
    case 11: {
      const Level first = program.level();
      const Level second = program.level();
      const Bytes frames = program.bytes();
      return peer.send_datagram(
          concat({peer.packet(first, frames), peer.packet(second, make_frame(program))}));
    }
    case 12: {
      const auto ids = peer.received_frames<NewConnectionIdFrame>();
      if (!ids.empty()) peer.set_destination_id(ids[program.u8() % ids.size()].id);
      return;
    }
    default:
      return peer.set_destination_id(program.bytes());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Program program({data, size});
  const uint8_t flags = program.u8();
  std::vector<Edit> edits(program.u8() % 8);
  for (Edit& edit : edits) edit = {program.u8(), program.u8(), program.u8(), program.u8()};

  HostileWorld world(1);
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_message = [&](uint8_t type, Bytes message) {
    for (const Edit& edit : edits) {
      if (edit.message_type == type && !message.empty()) message = edit.apply(std::move(message));
    }
    return message;
  };
  if ((flags & 4) == 0) config.edit_parameters = HostilePeer::add_extensions;
  HostilePeer& peer = world.add((flags & 1) != 0, std::move(config));
  std::vector<culvert::SocketAddr> addresses = {peer.address()};
  for (int i = 1; i < kMaxAddresses; ++i) addresses.push_back(world.next_address());
  if ((flags & 2) == 0) CHECK(world.run());

  for (int i = 0; i < kMaxOperations && !program.empty(); ++i) run_operation(program, world, peer, addresses);
  CHECK(world.run());
  CHECK(peer.malformed() == 0);
  CHECK(world.victim().connection_count() <= 1 + kMaxOperations);
  CHECK(world.serves_honest_client());
  world.clear();
  CHECK(world.victim().connection_count() == 0);
  CHECK(world.core_faults() == 0);
  return 0;
}
