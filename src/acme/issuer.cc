#include "acme/issuer.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"

namespace culvert::acme {
namespace {

// Of a wildcard what follows "*.".
std::string proven_name(const std::string& name) { return name.starts_with("*.") ? name.substr(2) : name; }

// Withdraws however its task ends.
class Published {
 public:
  Published(Solver& solver, Challenge challenge) : solver_(solver), challenge_(std::move(challenge)) {}
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;
  ~Published() { solver_.withdraw(challenge_); }

  const Challenge& challenge() const { return challenge_; }

 private:
  Solver& solver_;
  const Challenge challenge_;
};

std::string list(const std::vector<std::string>& names) {
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

// Another CA may have an answer sooner than the one that names a long wait.
std::optional<Duration> sooner(std::optional<Duration> a, std::optional<Duration> b) {
  if (!a || !b) return std::nullopt;
  return std::min(*a, *b);
}

// A CA that refuses to replace a certificate may issue another one all the same (RFC 9773, 5).
bool may_order_without_replacing(const Failure& failure) {
  return failure.error.code == ErrorCode::kInvalid || failure.error.code == ErrorCode::kConflict;
}

}  // namespace

// What was tried at one CA for one certificate. A challenge that failed ends its order, so that the next type
// needs another one.
class Issuer::Attempt {
 public:
  Attempt(Issuer& issuer, const Ca& ca, const std::shared_ptr<Account>& account,
          std::vector<std::string> names)
      : issuer_(issuer),
        account_(account),
        directory_(ca.directory.to_string()),
        ca_name_("the CA " + ca.directory.authority()),
        names_(std::move(names)),
        client_(issuer.loop_, ca, account, issuer.loop_.now() + issuer.options_.order_time) {}

  net::Task<Outcome<IssuedCertificate>> run(std::string replaces) {
    if (account_->url.empty()) {
      auto registered = co_await issuer_.register_by(client_, directory_);
      if (!registered) co_return std::unexpected(registered.error());
    }
    for (;;) {
      auto certificate = co_await order(replaces);
      const bool again = !certificate && std::exchange(may_try_another_type_, false);
      if (!again) co_return certificate;
      log_info("acme_challenge_failed", "name=\"{}\" error={}", names_.front(),
               quoted(certificate.error().error.message));
    }
  }

 private:
  net::Task<Outcome<IssuedCertificate>> order(std::string replaces) {
    ++issuer_.counters_.orders;
    auto placed = co_await client_.new_order(names_, replaces);
    if (!placed && !replaces.empty() && may_order_without_replacing(placed.error())) {
      placed = co_await client_.new_order(names_, "");
    }
    if (!placed) co_return std::unexpected(placed.error());
    const std::vector<std::string> authorizations = placed->order.authorizations;
    for (const std::string& url : authorizations) {
      auto proven = co_await prove(url);
      if (!proven) co_return std::unexpected(proven.error());
    }
    const tls::P256Key key = tls::P256Key::generate();
    auto request = tls::certificate_request(key, names_);
    if (!request) co_return std::unexpected(Failure{.error = request.error()});
    auto pem = co_await client_.finalize(std::move(*placed), std::move(*request));
    if (!pem) co_return std::unexpected(pem.error());
    co_return take(*pem, key);
  }

  Outcome<IssuedCertificate> take(const std::string& pem, const tls::P256Key& key) const {
    auto chain = tls::CertificateChain::from_pem(pem);
    auto checked =
        chain ? chain->check(key, names_, issuer_.loop_.unix_now()) : std::unexpected(chain.error());
    if (!checked) {
      return std::unexpected(Failure{
          .error = {ErrorCode::kInvalid, fmt::format("{} issued a certificate that cannot be used: {}",
                                                     ca_name_, checked.error().message)}});
    }
    return IssuedCertificate{.chain = std::move(*chain), .key = key, .directory = {}};
  }

  net::Task<Outcome<>> prove(std::string url) {
    auto authorization = co_await client_.authorization(url);
    if (!authorization) co_return std::unexpected(authorization.error());
    // Nothing is published for a name that was not ordered.
    if (std::ranges::find(names_, authorization->name, proven_name) == names_.end()) {
      co_return std::unexpected(
          Failure{.error = {ErrorCode::kInvalid, fmt::format("{} wants {} proven, which was not ordered",
                                                             ca_name_, quoted(authorization->name))}});
    }
    // An earlier order has proven it.
    if (authorization->status == AuthorizationStatus::kValid) co_return Outcome<>();
    if (authorization->status != AuthorizationStatus::kPending) {
      co_return std::unexpected(
          Failure{.error = {ErrorCode::kUnavailable,
                            fmt::format("{} has an authorization of {} that is {}", ca_name_,
                                        authorization->name, to_string(authorization->status))}});
    }
    const ChallengeOffer* offer = choose(*authorization);
    if (offer == nullptr) co_return std::unexpected(cannot_answer(*authorization));
    auto proven = co_await answer(std::move(url), authorization->name, *offer);
    if (!proven && proven.error().is_of_name) {
      ++issuer_.counters_.failed_challenges;
      failed_.emplace(authorization->name, offer->type);
      may_try_another_type_ = choose(*authorization) != nullptr;
    }
    co_return proven;
  }

  net::Task<Outcome<>> answer(std::string url, std::string name, ChallengeOffer offer) {
    const Published published(issuer_.solver_, Challenge::make(offer.type, name, offer.token, account_->key));
    auto visible = co_await issuer_.solver_.publish(published.challenge());
    if (!visible) {
      co_return std::unexpected(Failure{
          .error = {visible.error().code, fmt::format("cannot answer {} for {}: {}", to_string(offer.type),
                                                      name, visible.error().message)},
          .is_of_name = true});
    }
    auto begun = co_await client_.begin_challenge(offer.url);
    if (!begun) co_return std::unexpected(begun.error());
    auto authorization = co_await client_.wait_for_authorization(std::move(url));
    if (!authorization) co_return std::unexpected(authorization.error());
    if (authorization->status == AuthorizationStatus::kValid) co_return Outcome<>();
    co_return std::unexpected(not_proven(ca_name_,
                                         fmt::format("the proof of {} by {}", name, to_string(offer.type)),
                                         problem_of(*authorization, offer.type)));
  }

  static Problem problem_of(const Authorization& authorization, ChallengeType type) {
    const auto tried = std::ranges::find(authorization.offers, type, &ChallengeOffer::type);
    if (tried != authorization.offers.end() && tried->error) return *tried->error;
    return {.type = ProblemType::kUnauthorized,
            .detail = fmt::format("the authorization is {}", to_string(authorization.status)),
            .parts = {}};
  }

  // The first configured type that the CA offers, the solver can answer and that has not failed.
  const ChallengeOffer* choose(const Authorization& authorization) const {
    for (const ChallengeType type : issuer_.options_.challenge_types) {
      const auto offer = std::ranges::find(authorization.offers, type, &ChallengeOffer::type);
      if (offer == authorization.offers.end() || failed_.contains({authorization.name, type}) ||
          !issuer_.solver_.can_answer(type, authorization.name)) {
        continue;
      }
      return &*offer;
    }
    return nullptr;
  }

  Failure cannot_answer(const Authorization& authorization) const {
    return {.error = {ErrorCode::kInvalid,
                      fmt::format(
                          "{} offers {} to prove {}, and none of them can be answered here; configure one of "
                          "them or another CA",
                          ca_name_, quoted(list(authorization.type_names)), authorization.name)}};
  }

  Issuer& issuer_;
  const std::shared_ptr<Account> account_;
  const std::string directory_;
  const std::string ca_name_;
  const std::vector<std::string> names_;
  Client client_;
  std::set<std::pair<std::string, ChallengeType>> failed_;
  bool may_try_another_type_ = false;  // the order failed by a challenge, and there is another type
};

Issuer::Issuer(net::EventLoop& loop, IssuerOptions options, Store& store, Solver& solver)
    : loop_(loop), options_(std::move(options)), store_(store), solver_(solver), registered_(loop) {
  CHECK(!options_.cas.empty() && !options_.challenge_types.empty());
}

net::Task<Outcome<IssuedCertificate>> Issuer::issue(std::vector<std::string> names,
                                                    std::optional<ReplacedCertificate> replaced) {
  auto provable = check_provable(names);
  if (!provable) co_return std::unexpected(provable.error());
  std::optional<Failure> failure;
  for (const Ca& ca : options_.cas) {
    const bool is_issuer = replaced && replaced->directory == ca.directory.to_string();
    auto certificate = co_await issue_at(ca, names, is_issuer ? replaced->renewal_id : std::string());
    if (certificate) {
      ++counters_.issued;
      co_return certificate;
    }
    ++counters_.failed_cas;
    if (!failure) {
      failure = certificate.error();
    } else {
      failure->error.message += "; " + certificate.error().error.message;
      failure->retry_after = sooner(failure->retry_after, certificate.error().retry_after);
    }
    if (certificate.error().is_of_name) break;
  }
  co_return std::unexpected(std::move(*failure));
}

// Before a CA is asked: an order that cannot be fulfilled counts there.
Outcome<> Issuer::check_provable(const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    const bool is_wildcard = name.starts_with("*.");
    const bool is_provable = std::ranges::any_of(options_.challenge_types, [&](ChallengeType type) {
      return (!is_wildcard || type == ChallengeType::kDns01) && solver_.can_answer(type, proven_name(name));
    });
    if (is_provable) continue;
    return std::unexpected(
        Failure{.error = {ErrorCode::kInvalid,
                          fmt::format("{} cannot be proven here: {}", quoted(name),
                                      is_wildcard ? "a wildcard needs dns-01, which is not set up"
                                                  : "no type of challenge is set up for it")},
                .is_of_name = true});
  }
  return {};
}

// Tells the others what came of it, also when its task is cancelled.
struct Issuer::Registering {
  Registering(Issuer& of, std::string at)
      : issuer(of), directory(std::move(at)), registration(std::make_shared<Registration>()) {
    issuer.registrations_.emplace(directory, registration);
  }
  Registering(const Registering&) = delete;
  Registering& operator=(const Registering&) = delete;
  ~Registering() {
    if (!registration->outcome) {
      registration->outcome = std::unexpected(
          Failure{.error = {ErrorCode::kClosed, "the registration of an account was cancelled"}});
    }
    issuer.registrations_.erase(directory);
    issuer.registered_.notify();
  }

  Issuer& issuer;
  const std::string directory;
  const std::shared_ptr<Registration> registration;
};

// Lets the others go on, also when its task is cancelled.
struct Issuer::Storing {
  Storing(Issuer& of, std::string at) : issuer(of), directory(std::move(at)) {
    issuer.storing_.insert(directory);
  }
  Storing(const Storing&) = delete;
  Storing& operator=(const Storing&) = delete;
  ~Storing() {
    issuer.storing_.erase(directory);
    issuer.registered_.notify();
  }

  Issuer& issuer;
  const std::string directory;
};

net::Task<Outcome<>> Issuer::register_by(Client& client, std::string directory) {
  if (const auto running = registrations_.find(directory); running != registrations_.end()) {
    const std::shared_ptr<Registration> registration = running->second;
    while (!registration->outcome) co_await registered_.wait();
    co_return *registration->outcome;
  }
  const Registering turn(*this, std::move(directory));
  auto outcome = co_await client.ensure_account();
  turn.registration->outcome = outcome;
  co_return outcome;
}

net::Task<Outcome<IssuedCertificate>> Issuer::issue_at(Ca ca, std::vector<std::string> names,
                                                       std::string replaces) {
  auto account = co_await account_with(ca.directory.to_string());
  if (!account) co_return std::unexpected(Failure{.error = account.error()});
  const std::string known_url = (*account)->url;
  Attempt attempt(*this, ca, *account, std::move(names));
  auto certificate = co_await attempt.run(std::move(replaces));
  if ((*account)->url != known_url) co_await store_account(ca.directory.to_string(), **account);
  if (certificate) certificate->directory = ca.directory.to_string();
  co_return certificate;
}

const Ca* Issuer::find_ca(const std::string& directory) const {
  const auto ca =
      std::ranges::find(options_.cas, directory, [](const Ca& each) { return each.directory.to_string(); });
  return ca == options_.cas.end() ? nullptr : &*ca;
}

// One order makes the account, and others that want it wait: with two keys the stored one might be the other.
net::Task<Result<std::shared_ptr<Account>>> Issuer::account_with(std::string directory) {
  while (storing_.contains(directory)) co_await registered_.wait();
  if (const auto known = accounts_.find(directory); known != accounts_.end()) co_return known->second;
  auto stored = store_.load_account(directory);
  if (!stored) co_return std::unexpected(stored.error());
  if (!*stored) {
    const Storing turn(*this, directory);
    Account fresh{.key = tls::P256Key::generate()};
    auto saved = co_await store_.put_account(directory, fresh);
    if (!saved) co_return std::unexpected(saved.error());
    co_return accounts_.emplace(directory, std::make_shared<Account>(std::move(fresh))).first->second;
  }
  co_return accounts_.emplace(directory, std::make_shared<Account>(std::move(**stored))).first->second;
}

// The key is stored already: without the URL the next start asks the CA for it.
net::Task<> Issuer::store_account(std::string directory, Account account) {
  auto saved = co_await store_.put_account(std::move(directory), std::move(account));
  if (!saved) log_warn("acme_account_not_stored", "error={}", quoted(saved.error().message));
}

net::Task<Outcome<Issuer::AtCa>> Issuer::at_ca(std::string directory) {
  const Ca* ca = find_ca(directory);
  if (ca == nullptr) {
    co_return std::unexpected(
        Failure{.error = {ErrorCode::kNotFound, fmt::format("{} is not configured any more", directory)}});
  }
  auto account = co_await account_with(std::move(directory));
  if (!account) co_return std::unexpected(Failure{.error = account.error()});
  co_return AtCa{*ca, std::move(*account)};
}

net::Task<Outcome<Client::RenewalInfo>> Issuer::renewal_info(std::string directory, std::string renewal_id) {
  auto at = co_await at_ca(std::move(directory));
  if (!at) co_return std::unexpected(at.error());
  Client client(loop_, at->ca, at->account, loop_.now() + options_.order_time);
  auto info = co_await client.renewal_info(std::move(renewal_id));
  co_return info;
}

net::Task<Outcome<>> Issuer::revoke(std::string directory, Bytes certificate_der) {
  auto at = co_await at_ca(std::move(directory));
  if (!at) co_return std::unexpected(at.error());
  Client client(loop_, at->ca, at->account, loop_.now() + options_.order_time);
  auto revoked = co_await client.revoke(std::move(certificate_der));
  co_return revoked;
}

}  // namespace culvert::acme
