#include "acme/answer_fields.h"
#include "acme/budgets.h"
#include "acme/documents.h"
#include "acme/https_url.h"
#include "acme/record.h"
#include "acme/timestamp.h"
#include "base/check.h"
#include "base/text.h"
#include "tls/public_certificate.h"

using namespace culvert;
using namespace culvert::acme;

namespace {

template <class T>
void check_said(const Result<T>& result) {
  if (!result) CHECK(!result.error().message.empty());
}

void check_url(std::string_view text) {
  const auto url = parse_https_url(text);
  check_said(url);
  if (!url) return;
  const auto again = parse_https_url(url->to_string());
  CHECK(again && *again == *url);
}

void check_order(std::string_view text) {
  const auto order = parse_order(text);
  check_said(order);
  if (!order) return;
  CHECK(parse_https_url(order->finalize));
  CHECK(order->authorizations.size() <= Order::kMaxAuthorizations);
  CHECK(order->status != OrderStatus::kValid || parse_https_url(order->certificate));
}

// A token goes into a path, and a URL is asked.
void check_authorization(std::string_view text) {
  const auto authorization = parse_authorization(text);
  check_said(authorization);
  if (!authorization) return;
  for (const ChallengeOffer& offer : authorization->offers) {
    CHECK(is_challenge_token(offer.token) && parse_https_url(offer.url));
  }
}

// What a CA writes reaches logs and terminals.
void check_problem(std::string_view text) {
  const Problem problem = parse_problem(400, text);
  const Failure failure = not_proven("the CA", "the order", problem);
  CHECK(is_printable(failure.error.message) && failure.error.message.size() < 32 * 1024);
}

void check_record(std::string_view text) {
  const auto record = parse_record(SecretString(text));
  check_said(record);
  if (!record) return;
  const SecretString once = encode(*record);
  const auto again = parse_record(once);
  CHECK(again && encode(*again) == once);
}

void check_budgets(std::string_view text) {
  const UnixTime now(std::chrono::seconds(1'800'000'000));
  Budgets budgets({});
  const auto restored = budgets.restore(text);
  check_said(restored);
  if (!restored) return;
  const std::string once = budgets.encode(now);
  Budgets again({});
  CHECK(again.restore(once) && again.encode(now) == once);
  CHECK(budgets.allowed_at({.tenant = "t", .domain = "d", .is_renewal = false}, now) >= now);
}

void check_fields(std::string_view text) {
  http::Headers headers;
  for (const char* name : {"Link", "Retry-After", "Replay-Nonce"}) headers.add(name, std::string(text));
  CHECK(links(headers, "alternate").size() <= kMaxLinks);
  const auto wait = retry_after(headers, UnixTime(std::chrono::seconds(1'800'000'000)));
  CHECK(!wait || (*wait >= Duration(0) && *wait <= kMaxRetryAfter));
  const auto nonce = replay_nonce(headers);
  CHECK(!nonce || is_challenge_token(*nonce));
}

void check_chain(std::string_view text) {
  const auto chain = tls::CertificateChain::from_pem(text);
  check_said(chain);
  if (!chain) return;
  const auto again = tls::CertificateChain::from_pem(chain->pem());
  CHECK(again && again->pem() == chain->pem() && again->serial() == chain->serial());
  const auto id = renewal_id(*chain);
  CHECK(!id || parse_https_url("https://ca.example/" + *id));
}

void check_window(std::string_view text) {
  const auto window = parse_renewal_info(text);
  check_said(window);
  if (window) CHECK(window->start < window->end);
}

}  // namespace

// The first byte chooses the parser; the rest is what a CA sends, or what a file holds.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = as_text(ByteView(data + 1, size - 1));
  switch (data[0]) {
    case 'd':
      check_said(parse_directory(text));
      break;
    case 'o':
      check_order(text);
      break;
    case 'a':
      check_authorization(text);
      break;
    case 'w':
      check_window(text);
      break;
    case 'p':
      check_problem(text);
      break;
    case 'r':
      check_record(text);
      break;
    case 'b':
      check_budgets(text);
      break;
    case 'f':
      check_fields(text);
      break;
    case 'u':
      check_url(text);
      break;
    case 'c':
      check_chain(text);
      break;
    case 't':
      (void)parse_timestamp(text);
      break;
    default:
      break;
  }
  return 0;
}
