#include "wire/client_hello.h"

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace culvert::wire {
namespace {

using State = ClientHelloReader::State;

Bytes text(std::string_view value) { return to_bytes(as_bytes(value)); }

Bytes vector16(const Bytes& content) {
  ByteWriter out;
  out.u16(static_cast<uint16_t>(content.size()));
  out.bytes(content);
  return out.take();
}

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const Bytes& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

Bytes extension(uint16_t type, const Bytes& content) {
  ByteWriter out;
  out.u16(type);
  out.bytes(vector16(content));
  return out.take();
}

Bytes name_entry(std::string_view name, uint8_t type = 0) {
  return join({Bytes{type}, vector16(text(name))});
}

Bytes server_name(std::string_view name) { return extension(0, vector16(name_entry(name))); }

Bytes alpn(std::initializer_list<std::string_view> protocols) {
  Bytes list;
  for (std::string_view protocol : protocols) {
    list.push_back(static_cast<uint8_t>(protocol.size()));
    list.insert(list.end(), protocol.begin(), protocol.end());
  }
  return extension(16, vector16(list));
}

struct HelloFields {
  Bytes session_id = Bytes(32, 0x5e);
  Bytes suites = {0x13, 0x01, 0x13, 0x02};
  Bytes compression = {0x00};
  std::optional<Bytes> extensions = Bytes{};
};

Bytes handshake(uint8_t type, const Bytes& body) {
  ByteWriter out;
  out.u8(type);
  out.u24(static_cast<uint32_t>(body.size()));
  out.bytes(body);
  return out.take();
}

Bytes hello_message(const HelloFields& fields) {
  ByteWriter out;
  out.u16(0x0303);
  out.bytes(Bytes(32, 0x77));
  out.u8(static_cast<uint8_t>(fields.session_id.size()));
  out.bytes(fields.session_id);
  out.bytes(vector16(fields.suites));
  out.u8(static_cast<uint8_t>(fields.compression.size()));
  out.bytes(fields.compression);
  if (fields.extensions) out.bytes(vector16(*fields.extensions));
  return handshake(1, out.take());
}

Bytes hello_with(const Bytes& extensions) {
  HelloFields fields;
  fields.extensions = extensions;
  return hello_message(fields);
}

Bytes record(ByteView fragment, uint8_t type = 22, uint16_t version = 0x0301) {
  ByteWriter out;
  out.u8(type);
  out.u16(version);
  out.u16(static_cast<uint16_t>(fragment.size()));
  out.bytes(fragment);
  return out.take();
}

// The message in records of `fragment` bytes.
Bytes records(const Bytes& message, size_t fragment) {
  Bytes out;
  for (ByteView rest = message; !rest.empty(); rest = rest.subspan(std::min(fragment, rest.size()))) {
    const Bytes one = record(rest.first(std::min(fragment, rest.size())));
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

ClientHelloReader read(ByteView bytes, size_t step = SIZE_MAX) {
  ClientHelloReader reader;
  while (!bytes.empty() && reader.state() == State::kNeedMore) {
    const size_t count = std::min(step, bytes.size());
    EXPECT_EQ(reader.feed(bytes.first(count)), reader.state());
    bytes = bytes.subspan(count);
  }
  return reader;
}

void expect_name(const Bytes& bytes, const std::optional<std::string>& name) {
  for (size_t step : {SIZE_MAX, size_t{1}}) {
    auto reader = read(bytes, step);
    ASSERT_EQ(reader.state(), State::kDone) << reader.error();
    EXPECT_EQ(reader.hello().server_name, name);
  }
}

void expect_not_tls(const Bytes& bytes, std::string_view why) {
  for (size_t step : {SIZE_MAX, size_t{1}}) {
    auto reader = read(bytes, step);
    ASSERT_EQ(reader.state(), State::kNotTls) << why;
    EXPECT_NE(reader.error().find(why), std::string::npos) << reader.error() << "\nexpected " << why;
    EXPECT_FALSE(reader.hello().server_name);
  }
}

// What OpenSSL 3.0 sends for -servername App.Example.eu -alpn h2,http/1.1.
const char* kOpensslHello =
    "160301014d01000149030392441877ec83387e8a41fd32c1cb8105c8adcbc4ebe510e1ab7ef291e31f079f20e00cb1a828ee5a6f"
    "3626fb965f7d64"
    "a80eb5afc356c7a0b39b16ca68abb2eb65003e130213031301c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0"
    "270067c00ac014"
    "0039c009c0130033009d009c003d003c0035002f00ff010000c200000013001100000e4170702e4578616d706c652e6575000b00"
    "0403000102000a"
    "00160014001d0017001e0019001801000101010201030104002300000010000e000c02683208687474702f312e31001600000017"
    "0000000d002a00"
    "28040305030603080708080809080a080b080408050806040105010601030303010302040205020602002b000908030403030302"
    "0301002d000201"
    "01003300260024001d0020b665b638cec788edb4630c0dc7240e1ff8609b96a73e21e72f65c225f45d3a79";

// In the shape of a current browser: GREASE everywhere, an ECH placeholder, an X25519MLKEM768 key share.
Bytes post_quantum_hello() {
  Bytes key_share = join({Bytes{0x4a, 0x4a, 0x00, 0x01, 0x00, 0x11, 0xec}, vector16(Bytes(1216, 0x99)),
                          Bytes{0x00, 0x1d}, vector16(Bytes(32, 0x42))});
  HelloFields fields;
  fields.suites = {0x0a, 0x0a, 0x13, 0x01, 0x13, 0x02, 0x13, 0x03};
  fields.extensions = join(
      {extension(0x1a1a, {}), extension(51, vector16(key_share)), server_name("shop.example.eu"),
       extension(0xfe0d, Bytes(186, 0xec)), extension(43, Bytes{0x06, 0x2a, 0x2a, 0x03, 0x04, 0x03, 0x03}),
       alpn({"\x0a\x0a", "h2", "http/1.1"}), extension(0x5a5a, Bytes{0x00}), extension(21, Bytes(300, 0))});
  return hello_message(fields);
}

TEST(ClientHelloReader, ReadsAHelloOfOpenssl) {
  const Bytes bytes = from_hex(kOpensslHello).value();
  auto reader = read(bytes);
  ASSERT_EQ(reader.state(), State::kDone) << reader.error();
  EXPECT_EQ(reader.hello().server_name, "app.example.eu");
  EXPECT_EQ(reader.error(), "");
  EXPECT_EQ(reader.received(), bytes);
}

TEST(ClientHelloReader, EverySplitPointGivesTheSame) {
  const Bytes bytes = from_hex(kOpensslHello).value();
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    ClientHelloReader reader;
    EXPECT_EQ(reader.feed(ByteView(bytes).first(cut)), State::kNeedMore) << cut;
    EXPECT_EQ(reader.feed(ByteView(bytes).subspan(cut)), State::kDone) << cut;
    EXPECT_EQ(reader.hello().server_name, "app.example.eu");
    EXPECT_EQ(reader.received(), bytes);
  }
}

TEST(ClientHelloReader, NeedsMoreUntilTheLastByte) {
  const Bytes bytes = from_hex(kOpensslHello).value();
  ClientHelloReader reader;
  EXPECT_EQ(reader.state(), State::kNeedMore);
  EXPECT_EQ(reader.feed({}), State::kNeedMore);
  for (size_t i = 0; i + 1 < bytes.size(); ++i)
    ASSERT_EQ(reader.feed(ByteView(bytes).subspan(i, 1)), State::kNeedMore);
  EXPECT_EQ(reader.feed(ByteView(bytes).last(1)), State::kDone);
}

TEST(ClientHelloReader, PostQuantumHelloOverSegmentsAndRecords) {
  const Bytes message = post_quantum_hello();
  ASSERT_GT(message.size(), 1800u);
  ASSERT_LT(message.size(), 2200u);
  for (size_t fragment : {1u, 2u, 3u, 4u, 5u, 100u, 1200u, 16384u}) {
    const Bytes bytes = records(message, fragment);
    for (size_t step : {size_t{1}, size_t{7}, size_t{1448}, SIZE_MAX}) {
      auto reader = read(bytes, step);
      ASSERT_EQ(reader.state(), State::kDone) << fragment << " " << step << " " << reader.error();
      EXPECT_EQ(reader.hello().server_name, "shop.example.eu");
    }
  }
}

TEST(ClientHelloReader, WithoutServerName) {
  expect_name(record(hello_with(alpn({"h2"}))), std::nullopt);
  expect_name(record(hello_with({})), std::nullopt);
  HelloFields old;
  old.extensions = std::nullopt;
  old.session_id = {};
  expect_name(record(hello_message(old)), std::nullopt);
}

TEST(ClientHelloReader, FoldsTheServerName) {
  expect_name(record(hello_with(server_name("WWW.Example.EU"))), "www.example.eu");
  expect_name(record(hello_with(server_name("www.example.eu."))), "www.example.eu");
  expect_name(record(hello_with(server_name("a_b.xn--bcher-kva.example"))), "a_b.xn--bcher-kva.example");
  expect_name(record(hello_with(server_name("localhost"))), "localhost");
  const std::string longest = std::string(63, 'a') + '.' + std::string(63, 'b') + '.' + std::string(63, 'c') +
                              '.' + std::string(61, 'd');
  expect_name(record(hello_with(server_name(longest))), longest);
  expect_name(record(hello_with(server_name(longest + '.'))), longest);
}

TEST(ClientHelloReader, RefusesWhatIsNoHostname) {
  using namespace std::string_view_literals;
  for (auto name : {"www.example.eu\0.evil.eu"sv, "\0"sv, "www example.eu"sv, "www.example.eu\n"sv,
                    "www.example.eu:443"sv, "[::1]"sv, "a/b"sv, "a@b"sv}) {
    expect_not_tls(record(hello_with(server_name(name))), "has a character other than");
  }
  expect_not_tls(record(hello_with(server_name("*.example.eu"))), "has a '*'");
  expect_not_tls(record(hello_with(server_name("b\xc3\xbc"
                                               "cher.example"))),
                 "is not ASCII");
  for (auto name : {".example.eu"sv, "www..eu"sv, "www.eu.."sv}) {
    expect_not_tls(record(hello_with(server_name(name))), "a label that is empty");
  }
  expect_not_tls(record(hello_with(server_name(""))), "the server name is empty");
  expect_not_tls(record(hello_with(server_name("."))), "the server name is empty");
  expect_not_tls(record(hello_with(server_name(std::string(64, 'a') + ".eu"))), "longer than 63");
  std::string long_name;
  while (long_name.size() < 254) long_name += "abc.";
  expect_not_tls(record(hello_with(server_name(long_name + "eu"))), "longer than 253");
}

TEST(ClientHelloReader, RefusesAmbiguousServerNames) {
  expect_not_tls(record(hello_with(extension(0, vector16(join({name_entry("a.eu"), name_entry("b.eu")}))))),
                 "several entries");
  expect_not_tls(record(hello_with(extension(0, vector16(join({name_entry("a.eu"), name_entry("x", 7)}))))),
                 "several entries");
  expect_not_tls(record(hello_with(extension(0, vector16(name_entry("a.eu", 1))))), "no host name");
  expect_not_tls(record(hello_with(join({server_name("a.eu"), server_name("b.eu")}))),
                 "server_name appears twice");
  ClientHelloReader reader;
  ASSERT_EQ(reader.feed(record(hello_with(alpn({"h2", "acme-tls/1"})))), ClientHelloReader::State::kDone);
  EXPECT_EQ(reader.hello().alpn, (std::vector<std::string>{"h2", "acme-tls/1"}));
  expect_not_tls(record(hello_with(join({alpn({"h2"}), alpn({"h3"})}))), "ALPN appears twice");
}

TEST(ClientHelloReader, LengthsThatContradictEachOther) {
  const auto with = [](const Bytes& extensions) { return record(hello_with(extensions)); };
  expect_not_tls(with(extension(0, {})), "server_name contradicts");
  expect_not_tls(with(extension(0, {0x00, 0x00})), "no entry");
  expect_not_tls(with(extension(0, {0x00, 0x05, 0x00, 0x00, 0x01, 'a'})), "server_name contradicts");
  expect_not_tls(with(extension(0, {0x00, 0x04, 0x00, 0x00, 0x02, 'a'})), "server_name contradicts");
  expect_not_tls(with(extension(0, {0x00, 0x04, 0x00, 0x00, 0x01, 'a', 0x00})), "server_name contradicts");
  expect_not_tls(with(extension(0, {0x00, 0x01, 0x00})), "server_name contradicts");
  expect_not_tls(with(extension(16, {})), "ALPN contradicts");
  expect_not_tls(with(extension(16, {0x00, 0x00})), "no protocol");
  expect_not_tls(with(extension(16, {0x00, 0x01, 0x00})), "empty protocol");
  expect_not_tls(with(extension(16, {0x00, 0x02, 0x02, 'h'})), "ALPN contradicts");
  expect_not_tls(with(extension(16, {0x00, 0x02, 0x01, 'h', '2'})), "ALPN contradicts");
  expect_not_tls(with({0x00}), "an extension contradicts");
  expect_not_tls(with({0x00, 0x15, 0x00, 0x01}), "an extension contradicts");

  HelloFields fields;
  fields.session_id = Bytes(33, 1);
  expect_not_tls(record(hello_message(fields)), "session id");
  fields = {};
  fields.suites = {};
  expect_not_tls(record(hello_message(fields)), "cipher suites");
  fields.suites = {0x13, 0x01, 0x13};
  expect_not_tls(record(hello_message(fields)), "cipher suites");
  fields = {};
  fields.compression = {};
  expect_not_tls(record(hello_message(fields)), "compression");

  // Cut short at every place, with the outer lengths made to fit.
  const Bytes whole = hello_with(server_name("a.eu"));
  size_t complete = 0;
  for (size_t size = 5; size < whole.size(); ++size) {
    const Bytes body(whole.begin() + 4, whole.begin() + static_cast<ptrdiff_t>(size));
    auto reader = read(record(handshake(1, body)));
    if (reader.state() == State::kDone) {
      ++complete;
    } else {
      EXPECT_EQ(reader.state(), State::kNotTls) << size;
    }
  }
  EXPECT_EQ(complete, 1u) << "only the hello that ends before its extensions is whole";
  Bytes trailing(whole.begin() + 4, whole.end());
  trailing.push_back(0);
  expect_not_tls(record(handshake(1, trailing)), "extensions contradict");
}

TEST(ClientHelloReader, OtherProtocols) {
  expect_not_tls(text("GET / HTTP/1.1\r\n"), "record type 71");
  expect_not_tls(text("SSH-2.0-x"), "record type 83");
  expect_not_tls({0x80, 0x2e, 0x01, 0x00, 0x02}, "record type 128");
  expect_not_tls({0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28}, "record type 21");
  expect_not_tls({0x17}, "record type 23");
  expect_not_tls({0x16, 0x02}, "record version 2");
  expect_not_tls({0x16, 0x03, 0x01, 0x00, 0x00}, "empty TLS record");
  expect_not_tls({0x16, 0x03, 0x01, 0x41, 0x01}, "record of 16641 bytes");
  expect_not_tls({0x16, 0x03, 0x01, 0xff, 0xff}, "record of 65535 bytes");
  EXPECT_EQ(read(Bytes{0x16, 0x03, 0x01, 0x41, 0x00}).state(), State::kNeedMore);
  expect_not_tls(record(handshake(2, Bytes(40, 0))), "handshake message 2");
  expect_not_tls(record(Bytes{0x10}), "handshake message 16");
  expect_not_tls(record(handshake(1, {})), "empty");
}

TEST(ClientHelloReader, RecordsInBetweenMustBeHandshake) {
  const Bytes message = hello_with(server_name("a.eu"));
  const ByteView first = ByteView(message).first(20);
  const ByteView second = ByteView(message).subspan(20);
  expect_name(join({record(first), record(second, 22, 0x0303)}), "a.eu");
  expect_not_tls(join({record(first), record({}), record(second)}), "empty TLS record");
  expect_not_tls(join({record(first), record(Bytes{1}, 20), record(second)}), "record type 20");
  expect_not_tls(join({record(first), record(second, 23)}), "record type 23");
}

TEST(ClientHelloReader, KeepsWhatFollows) {
  const Bytes hello = record(hello_with(server_name("a.eu")));
  const Bytes early = record(Bytes(500, 0xda), 23);
  const Bytes all = join({hello, early});
  ClientHelloReader reader;
  EXPECT_EQ(reader.feed(all), State::kDone);
  EXPECT_EQ(reader.received(), all);
  EXPECT_EQ(reader.feed(text("more")), State::kDone);
  EXPECT_EQ(reader.hello().server_name, "a.eu");
  EXPECT_EQ(reader.take_received(), join({all, text("more")}));
  // Also when it shares the record with the hello.
  expect_name(record(join({hello_with(server_name("b.eu")), handshake(5, {})})), "b.eu");
}

TEST(ClientHelloReader, ALateByteCannotReviveAFailure) {
  ClientHelloReader reader;
  EXPECT_EQ(reader.feed(Bytes{0x47}), State::kNotTls);
  EXPECT_EQ(reader.feed(record(hello_with(server_name("a.eu")))), State::kNotTls);
}

// A hello of exactly `total` bytes on the wire, in one record.
Bytes padded_hello(size_t total) {
  const size_t empty = record(hello_with(join({server_name("a.eu"), extension(21, {})}))).size();
  return record(hello_with(join({server_name("a.eu"), extension(21, Bytes(total - empty, 0))})));
}

TEST(ClientHelloReader, TheCapIsExact) {
  for (size_t step : {SIZE_MAX, size_t{1}, size_t{1000}}) {
    auto fits = read(padded_hello(ClientHelloReader::kMaxBytes), step);
    EXPECT_EQ(fits.state(), State::kDone) << fits.error();
    auto over = read(padded_hello(ClientHelloReader::kMaxBytes + 1), step);
    EXPECT_EQ(over.state(), State::kTooLong);
    EXPECT_FALSE(over.error().empty());
    EXPECT_LE(over.received().size(), ClientHelloReader::kMaxBytes + 1);
  }
}

TEST(ClientHelloReader, TheCapCountsRecordHeaders) {
  // The message alone is far below the cap; one byte per record makes it six times as long.
  const Bytes wire = padded_hello(4000);
  const Bytes message(wire.begin() + 5, wire.end());
  EXPECT_EQ(read(records(message, 4000)).state(), State::kDone);
  for (size_t step : {SIZE_MAX, size_t{1}}) {
    auto reader = read(records(message, 1), step);
    EXPECT_EQ(reader.state(), State::kTooLong);
    EXPECT_FALSE(reader.hello().server_name);
  }
}

TEST(ClientHelloReader, AnAnnouncedGiantIsRefusedAtOnce) {
  ByteWriter out;
  out.u8(1);
  out.u24(0xffffff);
  auto reader = read(record(out.view()));
  EXPECT_EQ(reader.state(), State::kTooLong);
  EXPECT_NE(reader.error().find("16777215 bytes"), std::string::npos) << reader.error();
}

}  // namespace
}  // namespace culvert::wire
