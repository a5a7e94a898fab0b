#include "ca/counters.h"

namespace culvert::ca {
namespace {

using acme::ProblemType;

// What an operator would do about it; which request it was is in the log.
const char* reason_of(ProblemType type) {
  switch (type) {
    case ProblemType::kBadNonce:
      return "nonce";
    case ProblemType::kBadPublicKey:
    case ProblemType::kBadSignatureAlgorithm:
      return "key";
    case ProblemType::kAccountDoesNotExist:
    case ProblemType::kExternalAccountRequired:
    case ProblemType::kUnauthorized:
      return "account";
    case ProblemType::kRejectedIdentifier:
    case ProblemType::kUnsupportedIdentifier:
      return "name";
    case ProblemType::kBadCsr:
      return "csr";
    case ProblemType::kMalformed:
      return "malformed";
    case ProblemType::kRateLimited:
      return "full";
    case ProblemType::kServerInternal:
      return "internal";
    default:
      return "other";
  }
}

}  // namespace

void report(const Counters& counters, Metrics& metrics) {
  metrics.counter("culvert_ca_requests_total", "Requests to the ACME server.", counters.requests);
  for (size_t i = 0; i < acme::kProblemTypes; ++i) {
    metrics.counter("culvert_ca_refusals_total", "Requests that the ACME server refused, by reason.",
                    counters.refusals.at(i), {{"reason", reason_of(static_cast<ProblemType>(i))}});
  }
  metrics.gauge("culvert_ca_accounts", "Accounts with the ACME server.",
                static_cast<double>(counters.accounts));
  metrics.counter("culvert_ca_orders_total", "Orders that were placed.", counters.orders);
  for (size_t i = 0; i < acme::kChallengeTypes; ++i) {
    const char* type = acme::to_string(static_cast<acme::ChallengeType>(i));
    constexpr const char* kName = "culvert_ca_challenges_total";
    constexpr const char* kHelp = "Challenges that were validated, by kind and result.";
    metrics.counter(kName, kHelp, counters.valid_challenges.at(i), {{"kind", type}, {"result", "valid"}});
    metrics.counter(kName, kHelp, counters.invalid_challenges.at(i), {{"kind", type}, {"result", "invalid"}});
  }
  metrics.gauge("culvert_ca_validations", "Validations that run now.",
                static_cast<double>(counters.running_validations));
  metrics.counter("culvert_ca_issued_total", "Certificates that were issued.", counters.issued);
  metrics.counter("culvert_ca_revoked_total", "Certificates that were revoked.", counters.revoked);
  metrics.counter("culvert_ca_store_failures_total", "Accounts and certificates that could not be stored.",
                  counters.store_failures);
  metrics.gauge("culvert_ca_connections", "Connections to the ACME server open now.",
                static_cast<double>(counters.connections));
  metrics.counters("culvert_ca_failed_connections_total",
                   "Connections to the ACME server that were not served, by reason.", "reason",
                   {{"max_connections", counters.refused_connections}, {"tls", counters.failed_handshakes}});
}

}  // namespace culvert::ca
