#include "ca/server.h"

#include "base/host_port.h"
#include "base/log.h"
#include "base/rate_limit.h"
#include "base/text.h"
#include "ca/authority.h"
#include "ca/validator.h"
#include "http/server.h"
#include "net/resolver.h"
#include "net/tcp.h"

namespace culvert::ca {
namespace {

using namespace std::chrono_literals;

constexpr Duration kHandshakeTime = 10s;
constexpr Duration kRequestTime = 10s;
// Clients ask again within seconds while they wait; between orders they need no connection.
constexpr Duration kIdleTime = 30s;
// Before the next try to accept: an error that stays must not keep the loop busy.
constexpr Duration kAcceptPause = 1s;
// The server's own certificate is replaced when so much of its life is left.
constexpr auto kRenewalMargin = std::chrono::days(30);

// Lines about what clients do. Each event has a limit of its own, so that none takes the lines of another.
class LoggingObserver final : public Observer {
 public:
  explicit LoggingObserver(net::EventLoop& loop) : loop_(loop) {}

  void issued(const IssuedCertificate& certificate) override {
    if (!issued_.allow(loop_.now())) return;
    log_info("ca_certificate_issued", "names={} serial={} account={} not_after={}{}", names_of(certificate),
             certificate.id, certificate.account_id, certificate.leaf.not_after().time_since_epoch().count(),
             suffix(issued_));
  }
  void revoked(const IssuedCertificate& certificate) override {
    if (!revoked_.allow(loop_.now())) return;
    log_info("ca_certificate_revoked", "names={} serial={} account={}{}", names_of(certificate),
             certificate.id, certificate.account_id, suffix(revoked_));
  }
  void validated(const Validation& validation, const std::optional<acme::Problem>& problem) override {
    const acme::Challenge& challenge = validation.challenge;
    const char* type = acme::to_string(challenge.type);
    if (!problem) {
      log_debug("ca_challenge_valid", "name={} type={}", quoted(challenge.name), type);
      return;
    }
    if (!invalid_.allow(loop_.now())) return;
    log_warn("ca_challenge_invalid", "name={} type={} problem={} reason={}{}", quoted(challenge.name), type,
             acme::to_string(problem->type), quoted(problem->detail), suffix(invalid_));
  }
  void refused(std::string_view method, std::string_view path, const Refusal& refusal) override {
    // Part of every exchange with a client that has no nonce yet.
    if (refusal.type == acme::ProblemType::kBadNonce || !refused_.allow(loop_.now())) return;
    log_warn("ca_request_refused", "method={} path={} status={} problem={} reason={}{}", quoted(method),
             quoted(path), refusal.status, acme::to_string(refusal.type), quoted(refusal.detail),
             suffix(refused_));
  }
  void fault(const Error& error) override {
    if (fault_.allow(loop_.now()))
      log_error("ca_fault", "reason={}{}", quoted(error.message), suffix(fault_));
  }

 private:
  static std::string names_of(const IssuedCertificate& certificate) {
    return quoted(fmt::format("{}", fmt::join(certificate.leaf.names(), ",")));
  }
  static std::string suffix(RateLimit& limit) {
    const uint64_t more = limit.take_refused();
    return more == 0 ? std::string() : fmt::format(" omitted={}", more);
  }

  net::EventLoop& loop_;
  RateLimit issued_{50, 1s}, revoked_{50, 1s}, invalid_{20, 5s}, refused_{20, 5s}, fault_{5, 10s};
};

class ServerImpl final : public Server {
 public:
  ServerImpl(net::EventLoop& loop, std::unique_ptr<net::TcpListener> listener, AuthorityOptions options,
             std::string name, HttpPorts ports, std::unique_ptr<tls::InternalCa> root, Store& store)
      : loop_(loop),
        listener_(std::move(listener)),
        base_url_(options.base_url),
        name_(std::move(name)),
        root_(std::move(root)),
        observer_(loop),
        authority_(std::move(options), *root_, store, loop.random(), observer_),
        validator_(loop, {.ports = ports}),
        http_(loop, http_options(), [this](http::Exchange& exchange) { return serve(exchange); }),
        closed_(loop),
        tasks_(loop) {}
  ~ServerImpl() override { close(); }

  Result<> begin() {
    auto loaded = authority_.load(loop_.unix_now());
    if (loaded) loaded = renew_identity();
    if (loaded) tasks_.spawn(accept());
    return loaded;
  }

  SocketAddr local_addr() const override { return listener_->local_addr(); }
  std::string url(std::string_view path) const override { return base_url_ + std::string(path); }
  std::string directory_url() const override {
    return url(Resource{.kind = Resource::Kind::kDirectory}.path());
  }
  void report(Metrics& metrics) const override { ca::report(authority_.counters(), metrics); }
  net::Task<> stop() override {
    close();
    // Validations wait for other hosts.
    tasks_.cancel();
    co_await tasks_.join();
  }

 private:
  http::ServerOptions http_options() {
    return {.request_time = kRequestTime,
            .idle_time = kIdleTime,
            .write_time = kRequestTime,
            .refusal = [this](int status, const Error& reason, const http::Exchange&) {
              return authority_.answer_to_unreadable(status, reason.message);
            }};
  }

  void close() {
    closing_ = true;
    listener_->close();
    closed_.notify();
    http_.close();
  }

  Result<> renew_identity() {
    const UnixTime now = loop_.unix_now();
    if (identity_ && tls::not_after(*identity_) - now > kRenewalMargin) return {};
    auto issued = root_->issue(name_, now);
    if (issued) identity_ = std::move(*issued);
    return issued ? Result<>() : std::unexpected(issued.error());
  }

  net::Task<> accept() {
    while (!closing_) {
      auto accepted = co_await listener_->accept();
      if (!accepted) {
        if (closing_) co_return;
        log_error("ca_accept_failed", "reason={}", quoted(accepted.error().message));
        co_await closed_.wait_until(loop_.now() + kAcceptPause);
        continue;
      }
      Counters& counters = authority_.counters();
      std::unique_ptr<net::ByteStream> stream = std::move(*accepted);
      if (counters.connections >= kMaxConnections) {
        ++counters.refused_connections;
        stream->reset();
        continue;
      }
      ++counters.connections;
      tasks_.spawn(serve_connection(std::move(stream)));
    }
  }

  net::Task<> serve_connection(std::unique_ptr<net::ByteStream> transport) {
    const CountedConnection counted(authority_.counters());
    // A root that has expired leaves the certificate that there is.
    (void)renew_identity();
    auto stream = co_await tls::accept(std::move(transport), {}, identity_, {"http/1.1"},
                                       loop_.now() + kHandshakeTime, tls::NoCommonAlpn::kServeUnlessH2);
    if (!stream) {
      ++authority_.counters().failed_handshakes;
      co_return;
    }
    co_await http_.serve(std::move(*stream));
  }

  net::Task<> serve(http::Exchange& exchange) {
    auto body = co_await exchange.read_all(Authority::kMaxBody);
    if (!body) co_return;  // the server says why
    auto sent = co_await exchange.respond(authority_.answer(exchange.request, loop_.unix_now()));
    (void)sent;
    begin_validations();
  }

  void begin_validations() {
    Counters& counters = authority_.counters();
    while (!closing_ && counters.running_validations < kMaxValidations) {
      auto validation = authority_.take_validation();
      if (!validation) return;
      ++counters.running_validations;
      tasks_.spawn(validate(std::move(*validation)));
    }
  }

  net::Task<> validate(Validation validation) {
    auto problem = co_await validator_.validate(validation.challenge);
    authority_.finish(validation, problem, loop_.unix_now());
    --authority_.counters().running_validations;
    begin_validations();
  }

  struct CountedConnection {
    explicit CountedConnection(Counters& in) : counters(in) {}
    ~CountedConnection() { --counters.connections; }
    CountedConnection(const CountedConnection&) = delete;
    CountedConnection& operator=(const CountedConnection&) = delete;
    Counters& counters;
  };

  net::EventLoop& loop_;
  std::unique_ptr<net::TcpListener> listener_;
  const std::string base_url_, name_;
  const std::unique_ptr<tls::InternalCa> root_;
  LoggingObserver observer_;
  Authority authority_;
  Validator validator_;
  http::Server http_;
  tls::IdentityPtr identity_;
  bool closing_ = false;
  net::Notify closed_;
  net::TaskGroup tasks_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(net::EventLoop& loop, const Options& options,
                                              std::unique_ptr<tls::InternalCa> root, Store& store) {
  const auto name = server_name(options);
  if (!name) return std::unexpected(name.error());
  auto external = external_account(options);
  if (!external) return std::unexpected(external.error());
  auto listener = net::TcpListener::listen(loop, options.listen, {});
  if (!listener) return std::unexpected(listener.error());
  // The whole world of names is that server's, so the hosts file is not asked either.
  if (!options.name_server.empty())
    net::configure_resolver(loop, {.servers = options.name_server, .hosts = "/dev/null"});
  const HostPort place{.host = *name, .port = (*listener)->local_addr().port()};
  auto server = std::make_unique<ServerImpl>(
      loop, std::move(*listener),
      AuthorityOptions{.base_url = "https://" + place.to_string(),
                       .lifetime = std::chrono::floor<std::chrono::seconds>(options.lifetime),
                       .domains = options.domains,
                       .external_account = std::move(*external)},
      *name, options.ports, std::move(root), store);
  auto begun = server->begin();
  if (!begun) return std::unexpected(begun.error());
  return server;
}

void describe_metrics(Metrics& metrics) { report(Counters{}, metrics); }

}  // namespace culvert::ca
