// The worked examples of docs/protocol.md, computed: the document must hold exactly these.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "http/signature.h"
#include "hubapi/declaration.h"
#include "hubapi/token.h"
#include "tunnel/control.h"
#include "tunnel/protocol.h"
#include "tunnel/stream_header.h"

namespace culvert::node {
namespace {

using namespace hubapi;  // NOLINT(google-build-using-namespace): the document names both without a prefix
using namespace tunnel;  // NOLINT(google-build-using-namespace)

using testing::HasSubstr;

class FixedRandom final : public Random {
 public:
  void fill(MutableBytes out) override { std::ranges::fill(out, uint8_t{0x04}); }
};

std::string document() {
  auto path = std::filesystem::path(CULVERT_SOURCE_DIR) / "docs/protocol.md";
  auto content = read_file(path, 1024 * 1024);
  EXPECT_TRUE(content) << (content ? "" : content.error().message);
  return content ? std::string(as_text(*content)) : std::string();
}

SecretKey key(uint8_t byte) { return SecretKey::from_seed(Bytes(32, byte)).value(); }

hubapi::InviteToken token() {
  hubapi::InviteToken out{.hub_urls = {"https://hub.example.com:8443"},
                          .hub_key = key(0x01).public_key(),
                          .invite_id = {},
                          .invite_secret = {},
                          .tenant_key = key(0x02)};
  out.invite_id.fill(0x10);
  out.invite_secret = SecretBytes<32>::from(Bytes(32, 0x20));
  return out;
}

std::string hex_dump(ByteView bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    out += to_hex(bytes.subspan(i, 1));
    out += i + 1 == bytes.size() ? "" : i % 16 == 15 ? "\n" : " ";
  }
  return out;
}

http::Request signed_request() {
  hubapi::Declaration declaration{token().invite_id, token().invite_secret, key(0x03).public_key(), {}};
  declaration.services.push_back({*route::HostPattern::parse("app.example.com"), route::TlsMode::kTerminate});
  http::Request request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = encode(declaration)};
  request.headers.add(std::string(http::kInstanceField), to_base64url(Bytes(16, 0x05)));
  FixedRandom random;
  http::sign_request(request, key(0x02), hubapi::kLeaseTag, UnixTime(std::chrono::seconds(1700000000)),
                     random);
  return request;
}

TEST(ProtocolDocument, HoldsTheToken) { EXPECT_THAT(document(), HasSubstr(token().encode())); }

TEST(ProtocolDocument, HoldsTheDeclarationAndItsSignature) {
  http::Request request = signed_request();
  std::string text = document();
  EXPECT_THAT(text, HasSubstr(request.body));
  std::string input;
  for (const auto& [name, value] : request.headers) {
    EXPECT_THAT(text, HasSubstr(name + ": " + value));
    if (name == "Signature-Input") input = value;
  }
  std::string base = fmt::format(
      "\"@method\": POST\n\"@path\": /v1/leases\n\"content-digest\": {}\n\"culvert-hub-instance\": "
      "{}\n\"@signature-params\": {}",
      *request.headers.find("Content-Digest"), *request.headers.find(http::kInstanceField),
      input.substr(std::string_view("sig1=").size()));
  EXPECT_THAT(text, HasSubstr(base));
  Signature signature = key(0x02).sign(as_bytes(base));
  EXPECT_THAT(text, HasSubstr("Signature: sig1=:" + to_base64(signature) + ":"));
}

TEST(ProtocolDocument, HoldsTheProofOfTheAgentKey) {
  http::Request request = signed_request();
  FixedRandom random;
  http::sign_request(request, key(0x03), hubapi::kAgentTag, UnixTime(std::chrono::seconds(1700000000)),
                     random, "sig2");
  std::string text = document();
  size_t proofs = 0;
  for (const auto& [name, value] : request.headers) {
    EXPECT_THAT(text, HasSubstr(name + ": " + value));
    if (value.starts_with("sig2=")) ++proofs;
  }
  EXPECT_EQ(proofs, 2u);
  auto verified =
      http::verify_request(request, hubapi::kAgentTag, UnixTime(std::chrono::seconds(1700000000)));
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(verified->key, key(0x03).public_key());
}

TEST(ProtocolDocument, HoldsTheControlMessages) {
  EXPECT_THAT(document(), HasSubstr(hex_dump(tunnel::encode(tunnel::Hello{.agent_version = "0.1.0"}))));
  for (const tunnel::ControlMessage& message : std::initializer_list<tunnel::ControlMessage>{
           tunnel::Hello{.agent_version = "0.1.0"},
           tunnel::Welcome{.edge_version = "0.1.0", .public_addr = "hub.example.com:8443"}, tunnel::Drain{},
           tunnel::Drained{}, tunnel::Health{"app.example.com", false, "it does not accept connections"}}) {
    Bytes bytes = tunnel::encode(message);
    EXPECT_THAT(document(), HasSubstr(as_text(ByteView(bytes).subspan(4))));
  }
}

TEST(ProtocolDocument, HoldsTheCloseCodes) {
  struct Row {
    CloseCode code;
    const char* name;
    const char* sent_by;
  };
  for (const Row& row : {Row{kCloseOk, "ok", "both"}, Row{kCloseNoLease, "no lease", "edge"},
                         Row{kCloseRevoked, "revoked", "edge"}, Row{kCloseReplaced, "replaced", "edge"},
                         Row{kCloseDraining, "draining", "edge"}, Row{kCloseProtocol, "protocol", "both"},
                         Row{kCloseLimit, "limit", "edge"}, Row{kCloseGoodbye, "goodbye", "agent"},
                         Row{kCloseWithdrawn, "withdrawn", "agent"}}) {
    EXPECT_THAT(document(), HasSubstr(fmt::format("\n| {} | {} | {} | ", static_cast<uint64_t>(row.code),
                                                  row.name, row.sent_by)));
  }
  EXPECT_THAT(document(),
              HasSubstr(fmt::format("closes a tunnel with code {}", static_cast<uint64_t>(kCloseGoodbye))));
}

TEST(ProtocolDocument, HoldsTheStreamHeader) {
  Bytes header = tunnel::encode(
      tunnel::StreamHeader{SocketAddr::v4({203, 0, 113, 7}, 51234), SocketAddr::v4({198, 51, 100, 1}, 443),
                           "app.example.com", tunnel::StreamKind::kTerminate, 0x1122334455667788});
  EXPECT_THAT(document(), HasSubstr(hex_dump(header)));
}

}  // namespace
}  // namespace culvert::node
