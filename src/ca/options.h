#pragma once
#include <optional>
#include <string>
#include <vector>

#include "acme/jws.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/settings.h"
#include "base/socket_addr.h"
#include "ca/http_location.h"

namespace culvert::ca {

// What an operator may choose of the ACME server.
struct Options {
  SocketAddr listen = SocketAddr::v4({127, 0, 0, 1}, 14000);
  std::string name = {};  // by which clients reach it: a hostname or an address; empty: see server_name()
  Duration lifetime = std::chrono::days(30);  // of certificates
  std::vector<std::string> domains = {};      // empty: certificates for every name
  std::string name_server = {};               // "ADDR:PORT"; empty: those of this machine
  HttpPorts ports = {};
  std::string external_key_id = {};
  SecretString external_mac_key = {};
};

// Section [ca].
void describe(SettingsBuilder& settings, Options& options);

// The name in the server's URLs and in its own certificate: `name`, or localhost where it listens on
// loopback, or the address that it listens on. kInvalid: it listens on all of them, and has no name.
Result<std::string> server_name(const Options& options);
// nullopt: none is configured. kInvalid names the settings.
Result<std::optional<acme::ExternalAccount>> external_account(const Options& options);

}  // namespace culvert::ca
