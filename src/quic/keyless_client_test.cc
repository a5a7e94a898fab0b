// A client without a key cannot be made from our own classes, so this one is bare ngtcp2: the server must
// refuse it.
#include <gtest/gtest.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include <cstring>

#include "quic/engine.h"

namespace culvert::quic {
namespace {

const SocketAddr kClient = SocketAddr::v4({10, 0, 0, 2}, 50000);
const SocketAddr kServer = SocketAddr::v4({10, 0, 0, 1}, 443);
const TimePoint kNow{std::chrono::hours(1)};
ngtcp2_tstamp stamp(TimePoint time) { return static_cast<ngtcp2_tstamp>(time.time_since_epoch().count()); }

struct Outbox final : EngineHost {
  bool send(const net::DatagramBatch& batch) override {
    for (ByteView rest = batch.data; !rest.empty();) {
      size_t size = std::min(rest.size(), batch.segment_size);
      packets.push_back(to_bytes(rest.first(size)));
      rest = rest.subspan(size);
    }
    return true;
  }
  void on_accepted(std::shared_ptr<Connection>) override { ++accepted; }
  void want_flush() override {}
  std::vector<Bytes> packets;
  int accepted = 0;
};

class BareClient {
 public:
  // `raw_keys`: offers RFC 7250 certificate types, though it has no certificate to send.
  explicit BareClient(bool raw_keys) {
    gnutls_certificate_allocate_credentials(&credentials_);
    gnutls_init(&session_, GNUTLS_CLIENT | GNUTLS_ENABLE_RAWPK | GNUTLS_NO_END_OF_EARLY_DATA);
    std::string priority =
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519:-SIGN-ALL:+SIGN-EDDSA-ED25519:"
        "%DISABLE_TLS13_COMPAT_MODE";
    if (raw_keys) priority += ":-CTYPE-ALL:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK";
    EXPECT_EQ(gnutls_priority_set_direct(session_, priority.c_str(), nullptr), 0);
    gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, credentials_);
    gnutls_datum_t alpn{reinterpret_cast<unsigned char*>(const_cast<char*>("test/1")), 6};
    gnutls_alpn_set_protocols(session_, &alpn, 1, GNUTLS_ALPN_MANDATORY);
    ngtcp2_crypto_gnutls_configure_client_session(session_);
    ref_.get_conn = [](ngtcp2_crypto_conn_ref* ref) {
      return static_cast<BareClient*>(ref->user_data)->conn_;
    };
    ref_.user_data = this;
    gnutls_session_set_ptr(session_, &ref_);

    ngtcp2_callbacks callbacks{};
    callbacks.client_initial = ngtcp2_crypto_client_initial_cb;
    callbacks.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
    callbacks.encrypt = ngtcp2_crypto_encrypt_cb;
    callbacks.decrypt = ngtcp2_crypto_decrypt_cb;
    callbacks.hp_mask = ngtcp2_crypto_hp_mask_cb;
    callbacks.recv_retry = ngtcp2_crypto_recv_retry_cb;
    callbacks.update_key = ngtcp2_crypto_update_key_cb;
    callbacks.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    callbacks.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    callbacks.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
    callbacks.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    callbacks.rand = [](uint8_t* out, size_t size, const ngtcp2_rand_ctx*) {
      SystemRandom().fill({out, size});
    };
    callbacks.get_new_connection_id = [](ngtcp2_conn*, ngtcp2_cid* id, uint8_t* token, size_t size, void*) {
      SystemRandom random;
      random.fill({id->data, size});
      id->datalen = size;
      random.fill({token, NGTCP2_STATELESS_RESET_TOKENLEN});
      return 0;
    };
    ngtcp2_settings settings;
    ngtcp2_settings_default(&settings);
    settings.initial_ts = stamp(kNow);
    ngtcp2_transport_params params;
    ngtcp2_transport_params_default(&params);
    ngtcp2_cid destination{18, {1, 2, 3}};
    ngtcp2_cid source{8, {4, 5, 6}};
    local_size_ = kClient.to_sockaddr(local_);
    remote_size_ = kServer.to_sockaddr(remote_);
    ngtcp2_path path = this->path();
    EXPECT_EQ(ngtcp2_conn_client_new(&conn_, &destination, &source, &path, NGTCP2_PROTO_VER_V1, &callbacks,
                                     &settings, &params, nullptr, this),
              0);
    ngtcp2_conn_set_tls_native_handle(conn_, session_);
  }
  ~BareClient() {
    ngtcp2_conn_del(conn_);
    gnutls_deinit(session_);
    gnutls_certificate_free_credentials(credentials_);
  }

  std::optional<Bytes> write(TimePoint now) {
    Bytes packet(1452);
    ngtcp2_ssize size =
        ngtcp2_conn_write_pkt(conn_, nullptr, nullptr, packet.data(), packet.size(), stamp(now));
    if (size <= 0) return std::nullopt;
    packet.resize(static_cast<size_t>(size));
    return packet;
  }
  int read(ByteView packet, TimePoint now) {
    ngtcp2_path path = this->path();
    ngtcp2_pkt_info info{};
    return ngtcp2_conn_read_pkt(conn_, &path, &info, packet.data(), packet.size(), stamp(now));
  }
  uint64_t close_code() const { return ngtcp2_conn_get_ccerr(conn_)->error_code; }

 private:
  ngtcp2_path path() {
    return {{reinterpret_cast<sockaddr*>(&local_), local_size_},
            {reinterpret_cast<sockaddr*>(&remote_), remote_size_},
            nullptr};
  }

  gnutls_certificate_credentials_t credentials_ = nullptr;
  gnutls_session_t session_ = nullptr;
  ngtcp2_crypto_conn_ref ref_{};
  ngtcp2_conn* conn_ = nullptr;
  sockaddr_storage local_{};
  sockaddr_storage remote_{};
  socklen_t local_size_ = 0;
  socklen_t remote_size_ = 0;
};

class KeylessClient : public testing::TestWithParam<bool> {};

TEST_P(KeylessClient, IsRefusedByTheServer) {
  Outbox outbox;
  SystemRandom random;
  Engine server({.key = *SecretKey::from_seed(Bytes(32, 2)), .accept_alpns = {"test/1"}, .limits = {}},
                random, outbox);
  BareClient client(GetParam());
  int client_result = 0;
  for (int round = 0; round < 10 && client_result == 0; ++round) {
    const TimePoint now = kNow + std::chrono::milliseconds(round + 1);
    while (auto packet = client.write(now)) server.receive({*packet, kClient, kServer, 0}, now);
    server.flush(now);
    for (const Bytes& packet : std::exchange(outbox.packets, {})) {
      if (client_result == 0) client_result = client.read(packet, now);
    }
  }
  EXPECT_EQ(outbox.accepted, 0);
  EXPECT_NE(client_result, 0);
  if (client_result == NGTCP2_ERR_DRAINING) {
    EXPECT_GE(client.close_code(), 0x100u);  // CRYPTO_ERROR
    EXPECT_LT(client.close_code(), 0x200u);
  }
}
INSTANTIATE_TEST_SUITE_P(CertificateTypes, KeylessClient, testing::Bool());

}  // namespace
}  // namespace culvert::quic
