#include "base/check.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "hubapi/token.h"

using namespace culvert;
using namespace culvert::hubapi;

namespace {

// A token has one spelling: what is read from it writes the same text.
void check_token(std::string_view text) {
  auto token = parse_invite_token(text);
  if (!token) {
    CHECK(!token.error().message.empty());
    return;
  }
  const std::string spelled = token->encode();
  const size_t at = text.find(spelled);
  CHECK(at != text.npos);
  CHECK(text.substr(0, at).find_first_not_of(" \t\r\n") == text.npos);
  CHECK(text.substr(at + spelled.size()).find_first_not_of(" \t\r\n") == text.npos);
  CHECK(token->describe().find(to_base64url(token->invite_secret.expose())) == std::string::npos);
}

void check_edge_token(std::string_view text) {
  auto token = parse_edge_token(text);
  if (!token) {
    CHECK(!token.error().message.empty());
    return;
  }
  CHECK(text.find(token->encode()) != text.npos);
  CHECK(token->describe().find(to_base64url(token->edge_key.expose_seed())) == std::string::npos);
}

void check_url(std::string_view text) {
  auto url = parse_hub_url(text);
  if (!url) return;
  auto again = parse_hub_url(url->to_string());
  CHECK(again && again->host == url->host && again->port == url->port);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = as_text({data, size});
  check_url(text);
  check_token(text);
  check_edge_token(text);
  // Checksums are no fuzzer's strength: give it one that fits, so that it reaches what is behind.
  const Sha256 digest = sha256(as_bytes(text));
  const std::string complete = std::string(text) + '.' + to_base64url(ByteView(digest).first(4));
  check_token(complete);
  check_edge_token(complete);
  return 0;
}
