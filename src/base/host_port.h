#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert {

// A host and a port, as people write them: "localhost:3000", "192.0.2.1:443", "[::1]:3000".
struct HostPort {
  std::string host;  // a name or an address, without brackets
  uint16_t port = 0;

  std::string to_string() const;
  bool operator==(const HostPort&) const = default;
};

// The port is from 1 to 65535; a name is one of is_hostname(), in any case, and is kept as it was written.
// kInvalid says what is wrong and gives an example.
Result<HostPort> parse_host_port(std::string_view text);

// "1" to "65535", nothing around it.
std::optional<uint16_t> parse_port(std::string_view digits);

}  // namespace culvert
