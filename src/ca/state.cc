#include "ca/state.h"

namespace culvert::ca {

Outcome<> State::after_store(const Result<>& stored) {
  if (stored) return {};
  ++counters.store_failures;
  observer.fault(stored.error());
  // Why is for the operator: clients learn no paths of ours.
  return refuse(500, acme::ProblemType::kServerInternal, "the server cannot store this now; try again later");
}

Outcome<> State::keep(Account account) {
  auto stored = after_store(store.save(account));
  if (!stored) return stored;
  accounts.put(std::move(account));
  counters.accounts = accounts.size();
  return {};
}

Outcome<> State::keep(IssuedCertificate certificate, UnixTime now) {
  auto stored = after_store(store.save(certificate));
  if (!stored) return stored;
  certificates.put(std::move(certificate));
  while (const auto removed = certificates.remove_one(now)) {
    // One that stays on disk is removed after the next start.
    (void)after_store(store.remove_certificate(*removed));
  }
  return {};
}

}  // namespace culvert::ca
