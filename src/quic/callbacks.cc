#include "quic/callbacks.h"

#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/connection.h"

namespace culvert::quic {

namespace {
Connection& connection_of(void* user_data) { return *static_cast<Connection*>(user_data); }
}  // namespace

// The friend of Connection through which ngtcp2 reaches its private half.
struct Callbacks {
  static int handshake_completed(ngtcp2_conn*, void* user_data) {
    return connection_of(user_data).on_handshake_completed() ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
  }

  static int crypto_data(ngtcp2_conn*, ngtcp2_encryption_level level, uint64_t, const uint8_t* data,
                         size_t size, void* user_data) {
    return connection_of(user_data).on_crypto_data(level, {data, size});
  }

  static int stream_open(ngtcp2_conn*, int64_t id, void* user_data) {
    connection_of(user_data).on_stream_opened(id);
    return 0;
  }

  static int stream_data(ngtcp2_conn*, uint32_t flags, int64_t id, uint64_t, const uint8_t* data, size_t size,
                         void* user_data, void*) {
    Connection& connection = connection_of(user_data);
    if (Stream* stream = connection.find_stream(id)) {
      connection.on_stream_data(*stream, {data, size}, (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
    }
    return 0;
  }

  static int stream_acked(ngtcp2_conn*, int64_t id, uint64_t offset, uint64_t size, void* user_data, void*) {
    Connection& connection = connection_of(user_data);
    if (Stream* stream = connection.find_stream(id))
      connection.on_stream_acknowledged(*stream, offset + size);
    return 0;
  }

  static int stream_close(ngtcp2_conn*, uint32_t, int64_t id, uint64_t code, void* user_data, void*) {
    Connection& connection = connection_of(user_data);
    if (Stream* stream = connection.find_stream(id)) connection.on_stream_closed(*stream, code);
    return 0;
  }

  static int stream_reset(ngtcp2_conn*, int64_t id, uint64_t, uint64_t code, void* user_data, void*) {
    Connection& connection = connection_of(user_data);
    if (Stream* stream = connection.find_stream(id)) connection.on_stream_reset(*stream, code);
    return 0;
  }

  static int extend_max_stream_data(ngtcp2_conn*, int64_t id, uint64_t, void* user_data, void*) {
    Connection& connection = connection_of(user_data);
    if (Stream* stream = connection.find_stream(id)) connection.queue(*stream);
    return 0;
  }

  static int extend_max_streams(ngtcp2_conn*, uint64_t, void* user_data) {
    connection_of(user_data).announce_streams_ = true;
    return 0;
  }

  static int datagram(ngtcp2_conn*, uint32_t, const uint8_t* data, size_t size, void* user_data) {
    connection_of(user_data).on_datagram({data, size});
    return 0;
  }

  static int stateless_reset(ngtcp2_conn*, const ngtcp2_pkt_stateless_reset*, void* user_data) {
    connection_of(user_data).die(
        {CloseReason::Kind::kStatelessReset, 0, "the peer does not know this connection any more"});
    return 0;
  }

  static int new_connection_id(ngtcp2_conn*, ngtcp2_cid* id, uint8_t* token, size_t, void* user_data) {
    Connection& connection = connection_of(user_data);
    connection.shared_.host.make_connection_id(*id, token);
    connection.shared_.host.add_route(*id, connection);
    return 0;
  }

  static int remove_connection_id(ngtcp2_conn*, const ngtcp2_cid* id, void* user_data) {
    connection_of(user_data).shared_.host.remove_route(*id);
    return 0;
  }

  static int peer_id_status(ngtcp2_conn*, ngtcp2_connection_id_status_type type, uint64_t, const ngtcp2_cid*,
                            const uint8_t* token, void* user_data) {
    if (token == nullptr) return 0;
    Connection& connection = connection_of(user_data);
    ByteView view(token, NGTCP2_STATELESS_RESET_TOKENLEN);
    if (type == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE) {
      connection.shared_.host.add_reset_token(view, connection);
    } else {
      connection.shared_.host.remove_reset_token(view);
    }
    return 0;
  }

  static void random(uint8_t* out, size_t size, const ngtcp2_rand_ctx* context) {
    static_cast<Random*>(context->native_handle)->fill({out, size});
  }

  // Ours instead of the crypto helper's: challenges must come from the given randomness to repeat.
  static int path_challenge(ngtcp2_conn*, uint8_t* data, void* user_data) {
    connection_of(user_data).shared_.random.fill({data, NGTCP2_PATH_CHALLENGE_DATALEN});
    return 0;
  }
};

ngtcp2_callbacks make_callbacks() {
  ngtcp2_callbacks callbacks{};
  callbacks.client_initial = ngtcp2_crypto_client_initial_cb;
  callbacks.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
  callbacks.recv_crypto_data = Callbacks::crypto_data;
  callbacks.encrypt = ngtcp2_crypto_encrypt_cb;
  callbacks.decrypt = ngtcp2_crypto_decrypt_cb;
  callbacks.hp_mask = ngtcp2_crypto_hp_mask_cb;
  callbacks.recv_retry = ngtcp2_crypto_recv_retry_cb;
  callbacks.update_key = ngtcp2_crypto_update_key_cb;
  callbacks.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
  callbacks.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
  callbacks.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
  callbacks.get_path_challenge_data = Callbacks::path_challenge;
  callbacks.rand = Callbacks::random;
  callbacks.get_new_connection_id = Callbacks::new_connection_id;
  callbacks.remove_connection_id = Callbacks::remove_connection_id;
  callbacks.dcid_status = Callbacks::peer_id_status;
  callbacks.handshake_completed = Callbacks::handshake_completed;
  callbacks.stream_open = Callbacks::stream_open;
  callbacks.recv_stream_data = Callbacks::stream_data;
  callbacks.acked_stream_data_offset = Callbacks::stream_acked;
  callbacks.stream_close = Callbacks::stream_close;
  callbacks.stream_reset = Callbacks::stream_reset;
  callbacks.extend_max_stream_data = Callbacks::extend_max_stream_data;
  callbacks.extend_max_local_streams_bidi = Callbacks::extend_max_streams;
  callbacks.extend_max_local_streams_uni = Callbacks::extend_max_streams;
  callbacks.recv_datagram = Callbacks::datagram;
  callbacks.recv_stateless_reset = Callbacks::stateless_reset;
  return callbacks;
}

}  // namespace culvert::quic
