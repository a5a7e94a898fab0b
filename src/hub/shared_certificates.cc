#include "hub/shared_certificates.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace culvert::hub {
namespace {

hubapi::EdgeChallenge for_edges(const acme::Challenge& challenge) {
  return {.type = acme::to_string(challenge.type),
          .name = challenge.name,
          .token = challenge.token,
          .key_authorization = challenge.key_authorization};
}

}  // namespace

SharedCertificates::SharedCertificates(net::EventLoop& loop, State& state, Ledger& ledger,
                                       const SecretKey& hub_key, std::string epoch)
    : loop_(loop),
      state_(state),
      ledger_(ledger),
      started_(loop.now()),
      store_(state, ledger, hub_key, loop.random()),
      feed_(loop, std::move(epoch)) {
  for (const auto& [key, challenge] : state_.certificates.challenges()) feed_.put(for_edges(challenge));
  set_listeners({});
}

void SharedCertificates::set_listeners(Certificates::Listeners listeners) {
  auto told = std::move(listeners.challenge);
  listeners.challenge = [this, told = std::move(told)](const acme::Challenge& challenge, bool is_pending) {
    if (told) told(challenge, is_pending);
    if (is_pending) {
      feed_.put(for_edges(challenge));
    } else {
      feed_.remove(for_edges(challenge));
    }
  };
  state_.certificates.set_listeners(std::move(listeners));
}

bool SharedCertificates::has_other_hubs() const { return state_.leases.hubs().count_others() > 0; }

net::Task<> SharedCertificates::apply_for_orders() {
  const Hubs& hubs = state_.leases.hubs();
  const auto is_open = [&] { return hubs.is_shared() && !hubs.lives(state_.certificates.orderer()); };
  if (!is_open()) co_return;
  auto applied = co_await ledger_.commit(
      {.touches = {std::string(Certificates::kOrdererKind)}, .judge = [&]() -> Result<Batch> {
         if (!is_open()) return Batch{};
         return Batch{.records = {Certificates::orderer_record(hubs.self())}, .audit = {}};
       }});
  if (!applied) {
    log_debug("acme_orderer_not_stored", "reason={}", culvert::quoted(applied.error().message));
  } else if (is_orderer()) {
    log_info("acme_orderer", "hub={}", hubs.self());
  }
}

bool SharedCertificates::can_be_answered(bool has_own_edge) const {
  const bool is_answered = has_own_edge || has_other_hubs() || feed_.following() > 0;
  if (!is_answered || loop_.now() >= started_ + kEdgesReturn) return is_answered;
  return std::ranges::all_of(state_.edges.dialled(),
                             [this](const hubapi::EdgeInfo& edge) { return feed_.is_following(edge.id); });
}

bool SharedCertificates::edges_answer(acme::ChallengeType type, bool has_own_edge) const {
  return (has_own_edge || has_other_hubs() || feed_.following() > 0) &&
         feed_.all_answer(acme::to_string(type));
}

std::vector<acme::Challenge> SharedCertificates::challenges() const {
  std::vector<acme::Challenge> out;
  for (const auto& [key, challenge] : state_.certificates.challenges()) out.push_back(challenge);
  return out;
}

net::Task<Result<>> SharedCertificates::add(acme::Challenge challenge) {
  auto written = co_await store_.write(Certificates::challenge_record(challenge, true));
  if (!written) co_return written;
  const TimePoint stored = loop_.now();
  const bool is_taken = co_await feed_.taken_by_all(stored + kEdgeTime);
  if (!is_taken)
    log_warn("acme_challenge_unconfirmed", "name=\"{}\" meaning={}", challenge.name,
             culvert::quoted("an edge has not confirmed it in time; the CA is told all the same"));
  if (has_other_hubs()) co_await net::sleep_until(loop_, stored + kOtherHubs);
  co_return Result<>();
}

net::Task<Result<>> SharedCertificates::remove(acme::Challenge challenge) {
  auto written = co_await store_.write(Certificates::challenge_record(challenge, false));
  co_return written;
}

}  // namespace culvert::hub
