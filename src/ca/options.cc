#include "ca/options.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/hostname.h"
#include "base/text.h"
#include "base/values.h"

namespace culvert::ca {
namespace {

Result<std::string> parse_name(std::string_view text) {
  std::string name = to_lower(text);
  if (parse_ip(name) || is_hostname(name)) return name;
  return fail(ErrorCode::kInvalid, "invalid name {} (expected a hostname or an address)", quoted(text));
}

Result<std::string> parse_domain(std::string_view text) {
  std::string domain = to_lower(text);
  if (is_hostname(domain)) return domain;
  return fail(ErrorCode::kInvalid, "invalid domain {}: it {} (expected one like lab.example.com)",
              quoted(text), hostname_fault(domain));
}

Result<std::string> parse_name_server(std::string_view text) {
  const auto address = parse_ip(text, 53);
  if (address) return address->to_string();
  auto with_port = SocketAddr::parse(text);
  if (with_port && with_port->port() != 0) return with_port->to_string();
  return fail(ErrorCode::kInvalid, "invalid name server {} (expected an address, with or without a port)",
              quoted(text));
}

Result<std::string> as_text(std::string_view value) { return std::string(value); }

}  // namespace

void describe(SettingsBuilder& settings, Options& options) {
  settings.section("ca");
  settings.add({.name = "listen",
                .help = "TCP address at which the ACME server serves HTTPS",
                .details = "Who reaches it can get a certificate of this CA for each name that leads to it.",
                .value_name = "ADDR:PORT",
                .default_text = options.listen.to_string(),
                .example = "192.0.2.1:14000",
                .variable = "CULVERT_CA_LISTEN",
                .apply = store(options.listen, parse_listen_addr)});
  settings.add({.name = "name",
                .help = "hostname or address by which clients reach the server",
                .details =
                    "It stands in the server's URLs, and its own certificate is for it. Where it listens "
                    "on all addresses there is no default.",
                .value_name = "NAME",
                .default_text = "localhost on loopback, else the address of --listen",
                .default_is_words = true,
                .example = "ca.lab.example.com",
                .variable = "CULVERT_CA_NAME",
                .apply = store(options.name, parse_name)});
  settings.add({.name = "lifetime",
                .help = "how long certificates are valid",
                .example = "6d",
                .variable = "CULVERT_CA_LIFETIME"},
               options.lifetime, std::chrono::minutes(5));
  settings.add({.name = "domains",
                .help = "names for which certificates are issued: these and all below them",
                .value_name = "DOMAIN,...",
                .default_text = "every name",
                .default_is_words = true,
                .example = "lab.example.com",
                .variable = "CULVERT_CA_DOMAINS",
                .form = SettingForm::kList,
                .apply = [&options](std::string_view text) -> Result<> {
                  auto domain = parse_domain(text);
                  if (!domain) return std::unexpected(domain.error());
                  options.domains.push_back(std::move(*domain));
                  return {};
                }});
  settings.add({.name = "dns-server",
                .help = "name server that is asked when names are validated",
                .details =
                    "It has to resolve names recursively. Without it names are resolved as other programs "
                    "on this host resolve them, the hosts file included.",
                .value_name = "ADDR[:PORT]",
                .default_text = "those of this host",
                .default_is_words = true,
                .example = "192.0.2.53",
                .variable = "CULVERT_CA_DNS_SERVER",
                .apply = store(options.name_server, parse_name_server)});
  settings.add({.name = "http-port",
                .help = "port at which answers to HTTP-01 are looked for",
                .details = "Public CAs look at port 80 alone.",
                .variable = "CULVERT_CA_HTTP_PORT"},
               options.ports.http, 1, 65535);
  settings.add({.name = "tls-port",
                .help = "port at which answers to TLS-ALPN-01 are looked for",
                .details = "Public CAs look at port 443 alone.",
                .variable = "CULVERT_CA_TLS_PORT"},
               options.ports.tls, 1, 65535);
  settings.add({.name = "eab-key-id",
                .help = "key id that a client needs to make an account (external account binding)",
                .details = "Without it anyone who reaches the server makes accounts.",
                .value_name = "ID",
                .default_text = "none",
                .default_is_words = true,
                .example = "kid-1",
                .variable = "CULVERT_CA_EAB_KEY_ID",
                .apply = store(options.external_key_id, as_text)});
  settings.add({.name = "eab-mac-key",
                .help = "MAC key that belongs to it, in base64url",
                .value_name = "KEY",
                .default_text = "none",
                .default_is_words = true,
                .example = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajV",
                .variable = "CULVERT_CA_EAB_MAC_KEY",
                .is_secret = true,
                .apply = store(options.external_mac_key, [](std::string_view text) -> Result<SecretString> {
                  return SecretString(text);
                })});
}

Result<std::string> server_name(const Options& options) {
  if (!options.name.empty()) return options.name;
  if (options.listen.is_loopback()) return "localhost";
  if (!options.listen.is_unspecified()) return options.listen.ip_text();
  return fail(ErrorCode::kInvalid,
              "--listen {} is every address of this host: give the name by which clients reach the server "
              "with --name",
              options.listen.to_string());
}

Result<std::optional<acme::ExternalAccount>> external_account(const Options& options) {
  if (options.external_key_id.empty() && options.external_mac_key.empty()) return std::nullopt;
  auto account = acme::parse_external_account(options.external_key_id, options.external_mac_key);
  if (account) return std::move(*account);
  return fail(account.error().code, "ca.eab-key-id and eab-mac-key: {}", account.error().message);
}

}  // namespace culvert::ca
