#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/socket_addr.h"

namespace culvert {

// A network of IP addresses: "10.0.0.0/8", "2001:db8::/32"; one address, as "192.0.2.1", is a network too.
class IpPrefix {
 public:
  // kInvalid says what is wrong: no such form, or an address with bits behind the prefix.
  static Result<IpPrefix> parse(std::string_view text);

  bool contains(const SocketAddr& address) const;
  std::string to_string() const;
  bool operator==(const IpPrefix&) const = default;

 private:
  IpPrefix(const SocketAddr& network, unsigned length) : network_(network), length_(length) {}

  SocketAddr network_;  // port 0
  unsigned length_;     // in bits
};

}  // namespace culvert
