#include "base/ip_prefix.h"

#include "base/text.h"
#include "base/whole_number.h"

namespace culvert {
namespace {

bool bit(ByteView bytes, unsigned index) { return (bytes[index / 8] >> (7 - index % 8) & 1) != 0; }

}  // namespace

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto network = parse_ip(text.substr(0, slash));
  if (!network) {
    return fail(ErrorCode::kInvalid, "network {} does not begin with an IP address (expected one like {})",
                quoted(text), "10.0.0.0/8 or 2001:db8::/32");
  }
  const auto most = static_cast<unsigned>(8 * network->ip().size());
  if (slash == std::string_view::npos) return IpPrefix(*network, most);
  const auto length = whole_number<unsigned>(text.substr(slash + 1));
  if (!length || *length > most) {
    return fail(ErrorCode::kInvalid, "network {} has a wrong length (expected 0 to {} bits behind the slash)",
                quoted(text), most);
  }
  for (unsigned i = *length; i < most; ++i) {
    if (!bit(network->ip(), i)) continue;
    return fail(ErrorCode::kInvalid,
                "network {} has bits behind its first {}, so that it is not clear which addresses are meant",
                quoted(text), *length);
  }
  return IpPrefix(*network, *length);
}

bool IpPrefix::contains(const SocketAddr& address) const {
  if (address.is_v4() != network_.is_v4()) return false;
  for (unsigned i = 0; i < length_; ++i) {
    if (bit(address.ip(), i) != bit(network_.ip(), i)) return false;
  }
  return true;
}

std::string IpPrefix::to_string() const { return fmt::format("{}/{}", network_.ip_text(), length_); }

}  // namespace culvert
