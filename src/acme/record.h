#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "acme/documents.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"

namespace culvert::acme {

// What is known of the attempts to get and to renew one certificate. It survives restarts, so that a restart
// is no fresh start for a CA. A time of 0 stands for none.
struct Progress {
  uint32_t failures = 0;                               // in a row
  UnixTime retry_at{};                                 // no order before
  UnixTime failed_at{};                                // when the last one failed
  std::string last_error = {};                         // and why; for people
  UnixTime renew_at{};                                 // chosen when the certificate or its window came
  std::optional<RenewalWindow> window = std::nullopt;  // that it was chosen from
  UnixTime ask_at{};                                   // when to ask the CA for its window

  bool operator==(const Progress&) const = default;
};

// A certificate as it was issued. PEM.
struct StoredCertificate {
  std::string chain;
  SecretString key;
  std::string directory;  // the URL of the CA that issued it
};

// All that is stored of one name.
struct Record {
  std::string name;  // a hostname or a wildcard
  Progress progress = {};
  std::optional<StoredCertificate> certificate = std::nullopt;
};

// As JSON.
SecretString encode(const Record& record);
// kInvalid says what is wrong; the message does not repeat the key. What is in the certificate is not
// checked.
Result<Record> parse_record(const SecretString& text);

}  // namespace culvert::acme
