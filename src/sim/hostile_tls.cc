#include "sim/hostile_tls.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/crypto.h"
#include "sim/hostile_frames.h"
#include "sim/hostile_packets.h"

namespace culvert::sim::tls {
namespace {

constexpr uint16_t kTls12 = 0x0303;
constexpr uint16_t kTls13 = 0x0304;
constexpr uint16_t kAes128GcmSha256 = 0x1301;
constexpr uint16_t kX25519 = 0x001d;
constexpr uint16_t kEd25519 = 0x0807;
constexpr uint8_t kRawPublicKey = 2;

// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410, 4).
constexpr std::array<uint8_t, 12> kSpkiPrefix = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

Bytes u16(uint16_t value) { return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)}; }

// A vector with a length of one, two or three bytes in front.
Bytes vector_of(size_t length_size, ByteView data) {
  Bytes out;
  for (size_t i = length_size; i > 0; --i) out.push_back(static_cast<uint8_t>(data.size() >> (8 * (i - 1))));
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

Bytes encode(const Extensions& extensions) {
  Bytes all;
  for (const Extension& extension : extensions) {
    const Bytes one = concat({u16(extension.type), vector_of(2, extension.data)});
    all.insert(all.end(), one.begin(), one.end());
  }
  return vector_of(2, all);
}

Bytes share_entry(ByteView key_share) { return concat({u16(kX25519), vector_of(2, key_share)}); }

std::optional<ByteView> take_vector(ByteReader& reader, size_t length_size) {
  std::optional<size_t> size;
  if (length_size == 1) {
    size = reader.u8();
  } else {
    size = reader.u16();
  }
  return size ? reader.take(*size) : std::nullopt;
}

std::optional<ByteView> find_extension(ByteView extensions, uint16_t type) {
  ByteReader reader(extensions);
  while (!reader.empty()) {
    auto found = reader.u16();
    auto data = take_vector(reader, 2);
    if (!found || !data) return std::nullopt;
    if (*found == type) return data;
  }
  return std::nullopt;
}

std::optional<Bytes> x25519_share(ByteReader& entries) {
  while (!entries.empty()) {
    auto group = entries.u16();
    auto share = take_vector(entries, 2);
    if (!group || !share) return std::nullopt;
    if (*group == kX25519) return to_bytes(*share);
  }
  return std::nullopt;
}

}  // namespace

void remove(Extensions& extensions, uint16_t type) {
  std::erase_if(extensions, [&](const Extension& extension) { return extension.type == type; });
}

Extension* find(Extensions& extensions, uint16_t type) {
  auto found = std::ranges::find(extensions, type, &Extension::type);
  return found == extensions.end() ? nullptr : &*found;
}

Bytes message(uint8_t type, ByteView body) { return concat({ByteView(&type, 1), vector_of(3, body)}); }

std::optional<Bytes> next_message(ByteView& data) {
  ByteReader reader(data);
  reader.u8();
  auto size = reader.u24();
  if (!size || !reader.take(*size)) return std::nullopt;
  Bytes out = to_bytes(data.first(4 + *size));
  data = reader.rest();
  return out;
}

Bytes client_hello(ByteView random, const Extensions& extensions) {
  return concat({u16(kTls12), random, vector_of(1, {}), vector_of(2, u16(kAes128GcmSha256)),
                 vector_of(1, Bytes{0}), encode(extensions)});
}

Bytes server_hello(ByteView random, ByteView session_id, const Extensions& extensions) {
  return concat(
      {u16(kTls12), random, vector_of(1, session_id), u16(kAes128GcmSha256), Bytes{0}, encode(extensions)});
}

Bytes encrypted_extensions(const Extensions& extensions) { return encode(extensions); }

Bytes certificate_request(const Extensions& extensions) {
  return concat({vector_of(1, {}), encode(extensions)});
}

Bytes certificate(const PublicKey& key) {
  const Bytes spki = concat({kSpkiPrefix, key.bytes()});
  return concat({vector_of(1, {}), vector_of(3, concat({vector_of(3, spki), encode({})}))});
}

Bytes certificate_verify(const SecretKey& key, bool by_server, ByteView transcript_hash) {
  const Bytes spaces(64, ' ');
  const std::string_view context =
      by_server ? "TLS 1.3, server CertificateVerify" : "TLS 1.3, client CertificateVerify";
  const Bytes zero{0};
  const Signature signature = key.sign(concat({spaces, as_bytes(context), zero, transcript_hash}));
  return concat({u16(kEd25519), vector_of(2, signature)});
}

Bytes new_session_ticket(ByteView ticket) {
  const Bytes lifetime_and_age = {0, 0, 14, 16, 1, 2, 3, 4};
  return concat({lifetime_and_age, vector_of(1, Bytes{0}), vector_of(2, ticket), encode({})});
}

Bytes alpn_data(const std::string& protocol) { return vector_of(2, vector_of(1, as_bytes(protocol))); }

Extensions client_extensions(const std::string& alpn, ByteView key_share, ByteView transport_parameters) {
  return {{kSupportedVersions, vector_of(1, u16(kTls13))},
          {kSupportedGroups, vector_of(2, u16(kX25519))},
          {kSignatureAlgorithms, vector_of(2, u16(kEd25519))},
          {kKeyShare, vector_of(2, share_entry(key_share))},
          {kAlpn, alpn_data(alpn)},
          {kClientCertificateType, vector_of(1, Bytes{kRawPublicKey})},
          {kServerCertificateType, vector_of(1, Bytes{kRawPublicKey})},
          {kQuicTransportParameters, to_bytes(transport_parameters)}};
}

Extensions server_hello_extensions(ByteView key_share) {
  return {{kSupportedVersions, u16(kTls13)}, {kKeyShare, share_entry(key_share)}};
}

Extensions encrypted_extensions_of(const std::string& alpn, ByteView transport_parameters) {
  return {{kAlpn, alpn_data(alpn)},
          {kClientCertificateType, {kRawPublicKey}},
          {kServerCertificateType, {kRawPublicKey}},
          {kQuicTransportParameters, to_bytes(transport_parameters)}};
}

Extensions certificate_request_extensions() { return {{kSignatureAlgorithms, vector_of(2, u16(kEd25519))}}; }

std::optional<Hello> parse_client_hello(ByteView message) {
  ByteReader reader(message);
  reader.take(4 + 2 + 32);
  auto session_id = take_vector(reader, 1);
  take_vector(reader, 2);  // cipher suites
  take_vector(reader, 1);  // compression methods
  auto extensions = take_vector(reader, 2);
  if (!session_id || !extensions) return std::nullopt;
  auto data = find_extension(*extensions, kKeyShare);
  if (!data) return std::nullopt;
  ByteReader entries(*data);
  entries.u16();
  auto share = x25519_share(entries);
  if (!share) return std::nullopt;
  return Hello{to_bytes(*session_id), *share};
}

std::optional<Hello> parse_server_hello(ByteView message) {
  ByteReader reader(message);
  reader.take(4 + 2 + 32);
  auto session_id = take_vector(reader, 1);
  reader.take(2 + 1);  // cipher suite, compression method
  auto extensions = take_vector(reader, 2);
  if (!session_id || !extensions) return std::nullopt;
  auto data = find_extension(*extensions, kKeyShare);
  if (!data) return std::nullopt;
  ByteReader entry(*data);
  auto share = x25519_share(entry);
  if (!share) return std::nullopt;
  return Hello{to_bytes(*session_id), *share};
}

// ---- Keys

namespace {
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;
}  // namespace

KeyExchange::KeyExchange(Random& random) : private_key_(32), public_key_(32) {
  random.fill(private_key_);
  Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_key_.data(), private_key_.size()),
          EVP_PKEY_free);
  size_t size = public_key_.size();
  CHECK(key != nullptr && EVP_PKEY_get_raw_public_key(key.get(), public_key_.data(), &size) == 1);
}

Bytes KeyExchange::shared_secret(ByteView peer_share) const {
  Key own(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_key_.data(), private_key_.size()),
          EVP_PKEY_free);
  Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer_share.data(), peer_share.size()),
           EVP_PKEY_free);
  KeyContext context(EVP_PKEY_CTX_new(own.get(), nullptr), EVP_PKEY_CTX_free);
  Bytes out(32);
  size_t size = out.size();
  if (peer == nullptr || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), out.data(), &size) != 1) {
    return {};
  }
  return out;
}

Bytes Schedule::transcript_hash() const {
  const Sha256 hash = sha256(transcript_);
  return {hash.begin(), hash.end()};
}

void Schedule::derive_handshake(ByteView shared_secret) {
  const Bytes zeros(32);
  const Sha256 empty_hash = sha256({});
  const Bytes early = hkdf_extract({}, zeros);
  secret_ = hkdf_extract(hkdf_expand_label(early, "derived", empty_hash, 32), shared_secret);
  const Bytes hash = transcript_hash();
  handshake_ = {hkdf_expand_label(secret_, "c hs traffic", hash, 32),
                hkdf_expand_label(secret_, "s hs traffic", hash, 32)};
}

void Schedule::derive_application() {
  const Bytes zeros(32);
  secret_ = hkdf_extract(hkdf_expand_label(secret_, "derived", sha256({}), 32), zeros);
  const Bytes hash = transcript_hash();
  application_ = {hkdf_expand_label(secret_, "c ap traffic", hash, 32),
                  hkdf_expand_label(secret_, "s ap traffic", hash, 32)};
}

Bytes Schedule::finished(bool by_server) const {
  const Bytes key = hkdf_expand_label(handshake_secret(by_server), "finished", {}, 32);
  const Sha256 data = hmac_sha256(key, transcript_hash());
  return {data.begin(), data.end()};
}

}  // namespace culvert::sim::tls
