// A peer that breaks the rules of TLS in QUIC (RFC 9001), in either role.
#include <algorithm>

#include "base/encoding.h"
#include "base/small_order_keys.h"
#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

class HostileTls : public Hostile {};
INSTANTIATE_TEST_SUITE_P(As, HostileTls, testing::Bool(), role_name);

TEST_P(HostileTls, WellBehavedPeerIsServed) {
  HostilePeer& peer = connect();
  EXPECT_TRUE(peer.complete());
  EXPECT_TRUE(peer.confirmed());
  EXPECT_TRUE(world.is_usable(peer));
  EXPECT_EQ(peer.malformed(), 0u);
  expect_recovery();
}

// RFC 9001, 8.2.
TEST_P(HostileTls, TransportParametersAreRequired) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_extensions = [](uint8_t, tls::Extensions& extensions) {
    tls::remove(extensions, tls::kQuicTransportParameters);
  };
  HostilePeer& peer = connect(std::move(config));
  expect_closed(peer, {kMissingExtension});
  EXPECT_EQ(world.victim().counters().handshakes_rejected, peer_is_server() ? 0u : 1u);
  expect_recovery();
}

// The same under another number. A client offered no such extension (RFC 8446, 4.2).
TEST_P(HostileTls, TransportParametersOfAnotherType) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_extensions = [](uint8_t, tls::Extensions& extensions) {
    if (auto* found = tls::find(extensions, tls::kQuicTransportParameters)) found->type = 0xfafa;
  };
  HostilePeer& peer = connect(std::move(config));
  expect_closed(peer, {peer_is_server() ? kUnsupportedExtension : kMissingExtension});
  expect_recovery();
}

// RFC 9001, 6.
TEST_P(HostileTls, TlsKeyUpdateIsRefused) {
  HostilePeer& peer = connect();
  peer.send_tls(Level::kOneRtt, tls::message(tls::kKeyUpdate, Bytes{0}));
  world.run();
  expect_closed(peer, {kUnexpectedMessage});
  const auto& reason = world.connections().back()->closed;
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->code, kUnexpectedMessage);
  expect_recovery();
}

// Behind the Finished, in the same CRYPTO frame: the TLS library sees it before the connection is open.
TEST_P(HostileTls, TlsKeyUpdateWithTheFinishedIsRefused) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_message = [](uint8_t type, Bytes message) {
    return type == tls::kFinished ? concat({message, tls::message(tls::kKeyUpdate, Bytes{0})}) : message;
  };
  HostilePeer& peer = connect(std::move(config));
  expect_closed(peer, {kUnexpectedMessage});
  EXPECT_EQ(world.victim().counters().handshakes_failed, peer_is_server() ? 0u : 1u);
  expect_recovery();
}

// And after it, at the same level. The victim may have dropped the level's keys, or read no more of it.
TEST_P(HostileTls, TlsKeyUpdateAtTheHandshakeLevelIsRefusedOrIgnored) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.send_handshake_done = false;  // a client may keep its Handshake keys until then
  HostilePeer& peer = world.add(peer_is_server(), std::move(config));
  peer.set_acknowledging(!peer_is_server());
  world.run();
  peer.send_tls(Level::kHandshake, tls::message(tls::kKeyUpdate, Bytes{0}));
  world.run_for(kPacing);
  if (peer.closed()) {
    // The second: new data of a level that is complete (RFC 9001, 4.1.3).
    expect_closed(peer, {kUnexpectedMessage, kProtocolViolation});
  } else {
    EXPECT_TRUE(world.is_usable(peer));
  }
  expect_recovery();
}

// A server takes no message after the handshake; a client takes tickets.
TEST_P(HostileTls, PostHandshakeMessages) {
  std::vector<unsigned> types = {tls::kMessageHash, 255};
  for (unsigned type = 0; type <= tls::kKeyUpdate; ++type) types.push_back(type);
  for (unsigned type : types) {
    for (size_t body_size : {0u, 1u, 32u, 2000u}) {
      SCOPED_TRACE(testing::Message() << "type " << type << ", " << body_size << " bytes");
      HostilePeer& peer = connect();
      peer.send_tls(Level::kOneRtt, tls::message(static_cast<uint8_t>(type), Bytes(body_size)));
      world.run();
      if (peer_is_server() && type == tls::kNewSessionTicket) {
        expect_contained(peer);
      } else if (type == tls::kKeyUpdate && body_size == 1) {
        expect_closed(peer, {kUnexpectedMessage});  // RFC 9001, 6
      } else {
        expect_closed(peer, {kUnexpectedMessage, kDecodeError});  // the body is none of this type
      }
    }
  }
  expect_recovery();
}

TEST_P(HostileTls, TicketsAreForClients) {
  HostilePeer& peer = connect();
  for (int i = 0; i < 300 && !peer.closed(); ++i) {
    peer.send_tls(Level::kOneRtt,
                  tls::message(tls::kNewSessionTicket, tls::new_session_ticket(Bytes(200, 1))));
    world.run();
  }
  if (peer_is_server()) {
    EXPECT_TRUE(world.is_usable(peer));
  } else {
    expect_closed(peer, {kUnexpectedMessage});
  }
  expect_recovery();
}

// The length of a message promises 16 MiB.
TEST_P(HostileTls, EndlessMessageIsBounded) {
  struct Case {
    Level level;
    uint8_t type;
  };
  const Case cases[] = {{Level::kInitial, peer_is_server() ? tls::kServerHello : tls::kClientHello},
                        {Level::kHandshake, tls::kCertificate},
                        {Level::kOneRtt, tls::kNewSessionTicket}};
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message() << "type " << int{c.type});
    HostilePeer::Config config = HostileWorld::hooks();
    if (c.level != Level::kOneRtt) {
      config.edit_message = [&](uint8_t type, Bytes message) {
        if (type == c.type) message[1] = 0xff;
        return message;
      };
    }
    HostilePeer& peer = connect(std::move(config));
    const size_t before = heap();
    if (c.level == Level::kOneRtt) peer.send_tls(c.level, Bytes{c.type, 0xff, 0xff, 0xff});
    for (int i = 0; i < 2000 && !peer.closed(); ++i) {
      peer.send_tls(c.level, Bytes(1000));
      world.run();
    }
    EXPECT_LT(heap(), before + 512 * 1024);
    EXPECT_TRUE(peer.closed());
  }
  expect_recovery();
}

// ---- The handshake's messages

const std::vector<uint8_t>& messages_of(bool server) {
  static const std::vector<uint8_t> of_client = {tls::kClientHello, tls::kCertificate,
                                                 tls::kCertificateVerify, tls::kFinished};
  static const std::vector<uint8_t> of_server = {tls::kServerHello,        tls::kEncryptedExtensions,
                                                 tls::kCertificateRequest, tls::kCertificate,
                                                 tls::kCertificateVerify,  tls::kFinished};
  return server ? of_server : of_client;
}

TEST_P(HostileTls, DamagedHandshakeMessages) {
  struct Damage {
    std::string name;
    std::function<Bytes(Bytes)> apply;
  };
  const std::vector<Damage> damages = {
      {"omitted", [](Bytes) { return Bytes(); }},
      {"sent twice", [](Bytes message) { return concat({message, message}); }},
      {"followed by another type", [](Bytes message) { return concat({message, tls::message(99, {})}); }},
      {"of another type",
       [](Bytes message) {
         message[0] = 99;
         return message;
       }},
      {"empty", [](Bytes message) { return tls::message(message[0], {}); }},
      {"one byte shorter",
       [](Bytes message) {
         return tls::message(message[0], ByteView(message).subspan(4, message.size() - 5));
       }},
      {"one byte longer",
       [](Bytes message) {
         message.push_back(0);
         return tls::message(message[0], ByteView(message).subspan(4));
       }},
      {"halved",
       [](Bytes message) {
         return tls::message(message[0], ByteView(message).subspan(4, message.size() / 2 - 2));
       }},
      {"with a wrong last byte",
       [](Bytes message) {
         message.back() ^= 1;
         return message;
       }},
      {"filled with 0xff",
       [](Bytes message) {
         std::fill(message.begin() + 4, message.end(), uint8_t{0xff});
         return message;
       }},
  };
  for (uint8_t type : messages_of(peer_is_server())) {
    for (const Damage& damage : damages) {
      SCOPED_TRACE(testing::Message() << "message " << int{type} << " " << damage.name);
      HostilePeer::Config config = HostileWorld::hooks();
      config.edit_message = [&](uint8_t sent, Bytes message) {
        return sent == type ? damage.apply(std::move(message)) : message;
      };
      HostilePeer& peer = connect(std::move(config));
      expect_contained(peer);
      // A server need not ask for a key, and the last byte of these is the value of a transport parameter.
      const bool may_pass = type == tls::kCertificateRequest ||
                            (damage.name == "with a wrong last byte" &&
                             (type == tls::kClientHello || type == tls::kEncryptedExtensions));
      const bool passed = std::ranges::any_of(world.connections(), [](const auto& connection) {
        return connection->connection().state() == quic::Connection::State::kOpen;
      });
      EXPECT_TRUE(may_pass || !passed);
      world.clear();
    }
  }
  expect_recovery();
}

// Cut at every byte, with the length of the message as it was sent and as it should be.
TEST_P(HostileTls, TruncatedHello) {
  const uint8_t hello = messages_of(peer_is_server())[0];
  for (size_t size = 4; size < 300; size += 3) {
    SCOPED_TRACE(testing::Message() << size << " bytes");
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_message = [&](uint8_t type, Bytes message) {
      if (type != hello || size >= message.size()) return message;
      return tls::message(type, ByteView(message).subspan(4, size - 4));
    };
    expect_contained(connect(std::move(config)));
  }
  expect_recovery();
}

TEST_P(HostileTls, DamagedExtensions) {
  struct Damage {
    std::string name;
    std::function<void(tls::Extensions&, size_t)> apply;
  };
  const std::vector<Damage> damages = {
      {"removed",
       [](tls::Extensions& all, size_t i) { all.erase(all.begin() + static_cast<std::ptrdiff_t>(i)); }},
      {"duplicated", [](tls::Extensions& all, size_t i) { all.push_back(all[i]); }},
      {"empty", [](tls::Extensions& all, size_t i) { all[i].data.clear(); }},
      {"one byte shorter",
       [](tls::Extensions& all, size_t i) {
         if (!all[i].data.empty()) all[i].data.pop_back();
       }},
      {"one byte longer", [](tls::Extensions& all, size_t i) { all[i].data.push_back(0); }},
      {"zero", [](tls::Extensions& all, size_t i) { std::ranges::fill(all[i].data, uint8_t{0}); }},
      {"0xff", [](tls::Extensions& all, size_t i) { std::ranges::fill(all[i].data, uint8_t{0xff}); }},
      {"of 1000 bytes", [](tls::Extensions& all, size_t i) { all[i].data.resize(1000); }},
      {"last", [](tls::Extensions& all, size_t i) { std::swap(all[i], all.back()); }},
  };
  for (uint8_t type : messages_of(peer_is_server())) {
    for (size_t i = 0; i < 8; ++i) {
      for (const Damage& damage : damages) {
        SCOPED_TRACE(testing::Message()
                     << "message " << int{type} << ", extension " << i << " " << damage.name);
        HostilePeer::Config config = HostileWorld::hooks();
        bool exists = false;
        config.edit_extensions = [&](uint8_t sent, tls::Extensions& extensions) {
          if (sent != type || i >= extensions.size()) return;
          exists = true;
          damage.apply(extensions, i);
        };
        HostilePeer& peer = connect(std::move(config));
        if (exists) expect_contained(peer);
        world.clear();
        if (!exists) break;
      }
    }
  }
  expect_recovery();
}

// Every extension type that exists or may exist, unsolicited.
TEST_P(HostileTls, UnknownAndUnsolicitedExtensions) {
  for (uint8_t message : messages_of(peer_is_server())) {
    for (uint16_t extension = 0; extension < 70; ++extension) {
      for (const Bytes& data : {Bytes(), Bytes{0}, Bytes{0, 1, 0}, Bytes(40, 0xff)}) {
        SCOPED_TRACE(testing::Message() << "message " << int{message} << ", extension " << extension << " of "
                                        << data.size() << " bytes");
        HostilePeer::Config config = HostileWorld::hooks();
        bool exists = false;
        config.edit_extensions = [&](uint8_t sent, tls::Extensions& extensions) {
          if (sent != message || tls::find(extensions, extension) != nullptr) return;
          exists = true;
          // Not last: pre_shared_key alone must be there.
          extensions.insert(extensions.begin(), {extension, data});
        };
        HostilePeer& peer = connect(std::move(config));
        if (exists) expect_contained(peer);
        if (!exists) break;
      }
    }
    world.clear();
  }
  expect_recovery();
}

// A ClientHello without a share of a common group gets HelloRetryRequest. Nobody proved anything yet.
TEST(HostileClient, SecondHello) {
  for (bool with_parameters : {true, false}) {
    CheckedWorld world(1);
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_extensions = [](uint8_t, tls::Extensions& extensions) {
      tls::find(extensions, tls::kKeyShare)->data = {0, 0};
    };
    HostilePeer& peer = world.add_client(std::move(config));
    world.run();
    ASSERT_FALSE(peer.closed());
    ASSERT_EQ(peer.received_frames<CryptoFrame>().size(), 1u) << "HelloRetryRequest";

    tls::KeyExchange exchange(world.random());
    TransportParameters parameters;
    parameters.set(0x0f, peer.source_id());
    tls::Extensions extensions =
        tls::client_extensions(HostileWorld::kAlpn, exchange.public_key(), parameters.encode());
    if (!with_parameters) tls::remove(extensions, tls::kQuicTransportParameters);
    peer.send_tls(Level::kInitial,
                  tls::message(tls::kClientHello, tls::client_hello(Bytes(32, 7), extensions)));
    world.run();
    if (with_parameters) {
      EXPECT_FALSE(peer.closed());
      EXPECT_GT(peer.received_frames<CryptoFrame>().size(), 1u) << "ServerHello";
    }
    EXPECT_TRUE(world.serves_honest_client());
  }
}

TEST_P(HostileTls, NoApplicationProtocol) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_extensions = [](uint8_t, tls::Extensions& extensions) { tls::remove(extensions, tls::kAlpn); };
  expect_closed(connect(std::move(config)), {kNoApplicationProtocol});
  expect_recovery();
}

TEST_P(HostileTls, WrongApplicationProtocol) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.alpn = "other/1";
  HostilePeer& peer = connect(std::move(config));
  // RFC 8446, 4.2.11 leaves open how a client answers a protocol that it did not offer.
  expect_closed(peer, {peer_is_server() ? kIllegalParameter : kNoApplicationProtocol});
  expect_recovery();
}

// A key of small order needs no secret: with the identity as key, R = B and S = 1 sign every transcript.
TEST_P(HostileTls, KeysOfSmallOrder) {
  Bytes anyone_signs = *from_hex("5866666666666666666666666666666666666666666666666666666666666666");
  anyone_signs.push_back(1);
  anyone_signs.resize(64);
  const Bytes verify = {0x08, 0x07, 0, 64};  // ed25519, the length
  const Bytes real_key = to_bytes(SecretKey::from_seed(Bytes(32, 9))->public_key().bytes());
  for (const char* key : kSmallOrderKeys) {
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_message = [=](uint8_t type, Bytes message) {
      if (type == tls::kCertificateVerify) {
        Bytes body = verify;
        body.insert(body.end(), anyone_signs.begin(), anyone_signs.end());
        return tls::message(type, body);
      }
      if (type != tls::kCertificate) return message;
      message = tls::message(type, tls::certificate(SecretKey::from_seed(Bytes(32, 9))->public_key()));
      auto place = std::ranges::search(message, real_key);
      std::ranges::copy(*from_hex(key), place.begin());
      return message;
    };
    expect_closed(connect(std::move(config)), {kBadCertificate});
  }
  expect_recovery();
}

TEST_P(HostileTls, AnotherKeyThanExpected) {
  HostilePeer::Config config = HostileWorld::hooks();
  // A certificate of a key that the peer does not have: a server's is not the one that was dialled.
  config.edit_message = [](uint8_t type, Bytes message) {
    return type == tls::kCertificate
               ? tls::message(type, tls::certificate(SecretKey::from_seed(Bytes(32, 9))->public_key()))
               : message;
  };
  // A client compares the key before the signature.
  expect_closed(connect(std::move(config)), {kDecryptError, kBadCertificate});
  expect_recovery();
}

}  // namespace
}  // namespace culvert::sim
