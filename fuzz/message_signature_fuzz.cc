#include <cstdlib>

#include "http/signature.h"
#include "http/structured_field.h"

using namespace culvert;

namespace {

// The text up to the next NUL, which is taken away with it.
std::string_view take_field(std::string_view& rest) {
  const size_t end = rest.find('\0');
  std::string_view field = rest.substr(0, end);
  rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  return field;
}

}  // namespace

// Signature-Input, Signature, Content-Digest, a field that may be covered, and the target, each ended by a
// NUL; what is left is the body.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = as_text({data, size});
  const std::string_view input = take_field(rest);
  const std::string_view signature = take_field(rest);
  const std::string_view digest = take_field(rest);
  const std::string_view other = take_field(rest);
  const std::string_view target = take_field(rest);

  http::Request request{
      .method = "POST", .target = std::string(target), .headers = {}, .body = std::string(rest)};
  request.headers.add("Host", "hub.test");
  request.headers.add("Signature-Input", std::string(input));
  request.headers.add("Signature", std::string(signature));
  request.headers.add("Content-Digest", std::string(digest));
  request.headers.add("X-Other", std::string(other));
  request.headers.add(std::string(http::kInstanceField), std::string(other));
  const UnixTime now{std::chrono::seconds(1'700'000'000)};
  (void)http::has_signature(request, "culvert-lease");
  const auto verified = http::verify_request(request, "culvert-lease", now);
  if (!verified && verified.error().code != ErrorCode::kUnauthorized) std::abort();

  // What signatures are over must be read again as it was understood.
  if (auto lists = http::parse_inner_lists(input)) {
    for (const http::InnerListMember& list : *lists) {
      auto again = http::parse_inner_lists(list.key + "=" + list.canonical);
      if (!again || again->size() != 1 || again->front().items != list.items ||
          again->front().canonical != list.canonical) {
        std::abort();
      }
      (void)http::signature_base(request, list.items, list.canonical);
    }
  }
  (void)http::parse_byte_sequences(signature);

  // A request that is signed here verifies, and not with another body.
  SeededRandom random(size);
  const SecretKey key = SecretKey::generate(random);
  http::Request ours{.method = "POST", .target = "/v1/leases", .headers = {}, .body = std::string(rest)};
  const http::ReplayGuard guard(random);
  ours.headers.add(std::string(http::kInstanceField), guard.instance());
  http::sign_request(ours, key, "culvert-lease", now, random);
  if (!guard.is_addressed(ours)) std::abort();
  auto good = http::verify_request(ours, "culvert-lease", now);
  if (!good || good->key != key.public_key()) std::abort();
  ours.body += "x";
  if (http::verify_request(ours, "culvert-lease", now)) std::abort();
  return 0;
}
