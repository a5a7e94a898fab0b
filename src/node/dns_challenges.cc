#include "node/dns_challenges.h"

#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "dns/exec_hook.h"
#include "dns/update_client.h"
#include "dns/visibility.h"
#include "node/file_places.h"

namespace culvert::node {
namespace {

constexpr size_t kMaxKeyFile = 64 * 1024;
constexpr std::string_view kLabel = "_acme-challenge.";

Result<dns::Name> challenge_name(const dns::Name& domain) {
  return dns::Name::parse(std::string(kLabel) + domain.to_string());
}

}  // namespace

void describe(SettingsBuilder& settings, DnsOptions& options) {
  settings.section("dns");
  settings.add(
      {.name = "listen",
       .help = "UDP and TCP address of a name server for the challenges of certificates",
       .details =
           "It answers for `_acme-challenge.` of each domain of `--dns-domains`, and for nothing else. "
           "Delegate that name to the node once, with an NS record.",
       .default_text = "nowhere",
       .default_is_words = true,
       .example = "[::]:53",
       .flag = "dns-listen"},
      options.listen);
  settings.add({.name = "domains",
                .help = "domains whose names it proves, wildcards among them",
                .value_name = "DOMAIN,...",
                .default_text = "none",
                .default_is_words = true,
                .example = "t.example.com",
                .flag = "dns-domains",
                .form = SettingForm::kList,
                .apply = [&options](std::string_view text) -> Result<> {
                  auto name = dns::Name::parse(text);
                  if (!name) return std::unexpected(name.error());
                  options.domains.push_back(std::move(*name));
                  return {};
                }});
  settings.add({.name = "name-server",
                .help = "the name of this node that the NS records have",
                .value_name = "NAME",
                .default_text = "the host of the first public URL",
                .default_is_words = true,
                .example = "ns.example.com",
                .flag = "dns-name-server",
                .apply = [&options](std::string_view text) -> Result<> {
                  auto name = dns::Name::parse(text);
                  if (!name) return std::unexpected(name.error());
                  options.name_server = std::move(*name);
                  return {};
                }});
  add_path(
      settings,
      {.name = "hook",
       .help = "a program that puts TXT records at your provider: it is run with add or remove, the name and "
               "the value",
       .details = "It returns when the record is stored, with status 0; within 2 minutes.",
       .value_name = "FILE",
       .default_text = "none",
       .default_is_words = true,
       .example = "/etc/culvert/dns-hook",
       .flag = "dns-hook"},
      options.hook);
  settings.add({.name = "update-server",
                .help = "a name server that takes dynamic updates (RFC 2136)",
                .value_name = "HOST:PORT",
                .default_text = "none",
                .default_is_words = true,
                .example = "ns1.example.com:53",
                .flag = "dns-update-server",
                .apply = [&options](std::string_view text) -> Result<> {
                  auto server = parse_host_port(text);
                  if (!server) return std::unexpected(server.error());
                  options.update_server = std::move(*server);
                  return {};
                }});
  add_path(settings,
           {.name = "update-key-file",
            .help = "the file of the key that signs them, as `tsig-keygen` writes it",
            .value_name = "FILE",
            .default_text = "updates are not signed",
            .default_is_words = true,
            .example = "/etc/culvert/tsig.key",
            .flag = "dns-update-key-file"},
           options.update_key);
}

Result<std::unique_ptr<DnsChallenges>> DnsChallenges::open(net::EventLoop& loop, const DnsOptions& options,
                                                           const std::string& own_name) {
  const int ways =
      (options.listen ? 1 : 0) + (options.hook.empty() ? 0 : 1) + (options.update_server ? 1 : 0);
  if (ways == 0 && options.domains.empty()) return nullptr;
  if (ways == 0) return fail(ErrorCode::kInvalid, "dns-domains: nobody answers for them; give --dns-listen");
  if (ways > 1)
    return fail(ErrorCode::kInvalid, "dns-listen, dns-hook and dns-update-server: keep one of them");
  std::unique_ptr<DnsChallenges> made(new DnsChallenges(loop));
  Result<> opened;
  if (options.listen) {
    opened = made->open_server(options, own_name);
  } else if (options.update_server) {
    opened = made->open_update(options);
  } else {
    auto hook = dns::ExecHook::make(loop, {.program = options.hook.string()});
    if (!hook) return fail(hook.error().code, "dns-hook: {}", hook.error().message);
    made->publisher_ = std::move(*hook);
  }
  if (!opened) return std::unexpected(opened.error());
  return made;
}

Result<> DnsChallenges::open_server(const DnsOptions& options, const std::string& own_name) {
  if (options.domains.empty())
    return fail(ErrorCode::kInvalid, "dns-listen: for which domains? Give --dns-domains");
  auto server_name = options.name_server;
  if (!server_name) {
    auto parsed = dns::Name::parse(own_name);
    if (own_name.empty() || !parsed) {
      return fail(ErrorCode::kInvalid,
                  "dns-name-server: is missing; give the name of this node that the NS records have");
    }
    server_name = std::move(*parsed);
  }
  for (const dns::Name& domain : options.domains) {
    auto apex = challenge_name(domain);
    if (!apex) return fail(ErrorCode::kInvalid, "dns-domains: {}", apex.error().message);
    auto contact = dns::Name::parse("hostmaster." + domain.to_string());
    if (!contact) return fail(ErrorCode::kInvalid, "dns-domains: {}", contact.error().message);
    // Serials rise over restarts.
    const auto serial = static_cast<uint32_t>(loop_.unix_now().time_since_epoch().count());
    auto zone = dns::Zone::make({.apex = std::move(*apex),
                                 .name_servers = {*server_name},
                                 .contact = std::move(*contact),
                                 .serial = serial});
    if (!zone) return fail(ErrorCode::kInvalid, "dns-domains: {}", zone.error().message);
    auto added = authority_.add(std::move(*zone));
    if (!added) return fail(ErrorCode::kInvalid, "dns-domains: {}", added.error().message);
  }
  auto server = dns::Server::listen(loop_, *options.listen, authority_);
  if (!server) return fail(server.error().code, "dns-listen: {}", server.error().message);
  server_ = std::move(*server);
  publisher_ = std::make_unique<dns::ZonePublisher>(authority_);
  return {};
}

Result<> DnsChallenges::open_update(const DnsOptions& options) {
  dns::UpdateOptions update{.server = *options.update_server};
  if (!options.update_key.empty()) {
    auto content = read_file(options.update_key, kMaxKeyFile);
    if (!content) return fail(content.error().code, "dns-update-key-file: {}", content.error().message);
    auto key = dns::parse_tsig_key_file(as_text(*content));
    if (!key) {
      return fail(ErrorCode::kInvalid, "dns-update-key-file: {}: {}", options.update_key.string(),
                  key.error().message);
    }
    update.key = std::move(*key);
  }
  publisher_ = std::make_unique<dns::UpdateClient>(loop_, std::move(update));
  return {};
}

bool DnsChallenges::can_answer(const std::string& hostname) const {
  if (!server_) return true;
  const auto name = dns::Name::parse(std::string(kLabel) + hostname);
  return name && authority_.find(*name) != nullptr;
}

net::Task<Result<>> DnsChallenges::put(std::string text, std::string value) {
  auto name = dns::Name::parse(text);
  if (!name) co_return std::unexpected(name.error());
  auto put = co_await publisher_->put(*name, value);
  if (!put) co_return put;
  dns::VisibilityOptions options;
  if (dns::Zone* zone = authority_.find(*name)) options.zone = zone->apex();
  co_return co_await dns::wait_until_visible(loop_, *name, std::move(value), std::move(options));
}

void DnsChallenges::remove(const std::string& text, std::string value) {
  auto name = dns::Name::parse(text);
  if (name) tasks_.spawn(take_away(std::move(*name), std::move(value)));
}

net::Task<> DnsChallenges::take_away(dns::Name name, std::string value) {
  auto removed = co_await publisher_->remove(name, std::move(value));
  if (!removed) {
    log_warn("dns_value_not_removed", "name={} reason={}", culvert::quoted(name.to_string()),
             culvert::quoted(removed.error().message));
  }
}

net::Task<> DnsChallenges::close() {
  co_await tasks_.join();
  if (server_) co_await server_->stop();
}

void DnsChallenges::report(Metrics& metrics) const {
  dns::report(authority_.counters(), metrics);
  dns::report(server_ ? server_->counters() : dns::ServerCounters{}, metrics);
}

void report_no_dns(Metrics& metrics) {
  dns::report(dns::AnswerCounters{}, metrics);
  dns::report(dns::ServerCounters{}, metrics);
}

}  // namespace culvert::node
