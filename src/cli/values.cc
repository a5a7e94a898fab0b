#include "cli/values.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include "base/host_port.h"
#include "base/log.h"
#include "hubapi/declaration.h"

namespace culvert::cli {
namespace {

std::optional<uint64_t> whole_number(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<Duration> duration_up_to(std::string_view text, std::chrono::days most) {
  using namespace std::chrono;
  constexpr std::pair<std::string_view, Duration> kUnits[] = {
      {"ms", milliseconds(1)}, {"s", seconds(1)}, {"m", minutes(1)}, {"h", hours(1)}, {"d", hours(24)}};
  size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  auto count = whole_number(text.substr(0, digits));
  auto unit = std::ranges::find(kUnits, text.substr(digits), &std::pair<std::string_view, Duration>::first);
  if (!count || unit == std::end(kUnits)) {
    return fail(ErrorCode::kInvalid,
                "{} is no duration; give a number and a unit: 500ms, 10s, 5m, 48h or 30d",
                culvert::quoted(text));
  }
  if (*count > static_cast<uint64_t>(Duration(most) / unit->second)) {
    return fail(ErrorCode::kLimit, "{} is too long a duration; the most is {}d", culvert::quoted(text),
                most.count());
  }
  return unit->second * static_cast<int64_t>(*count);
}

std::string format_tm(const char* format, const std::tm& time) {
  char out[64];
  return std::string(out, std::strftime(out, sizeof out, format, &time));
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) { return duration_up_to(text, kMaxDuration); }

Result<uint64_t> parse_number(std::string_view text, uint64_t least, uint64_t most) {
  auto value = whole_number(text);
  if (!value || *value < least || *value > most) {
    return fail(ErrorCode::kInvalid, "{} is no whole number from {} to {}", culvert::quoted(text), least,
                most);
  }
  return *value;
}

Result<std::optional<std::chrono::seconds>> parse_expiry(std::string_view text) {
  if (text == "never" || text == "0") return std::nullopt;
  const auto too_long = [text] {
    return fail(ErrorCode::kInvalid, "{} is too long; the most is {}d, or give never", culvert::quoted(text),
                std::chrono::duration_cast<std::chrono::days>(hubapi::kMaxInviteExpiry).count());
  };
  auto duration = duration_up_to(text, std::chrono::ceil<std::chrono::days>(hubapi::kMaxInviteExpiry));
  if (!duration) {
    if (duration.error().code == ErrorCode::kLimit) return too_long();
    return fail(ErrorCode::kInvalid, "{} is no lifetime; give e.g. 30d, 48h, 90m, or never",
                culvert::quoted(text));
  }
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*duration);
  if (seconds < std::chrono::seconds(1)) {
    return fail(ErrorCode::kInvalid, "{} is less than a second; give e.g. 30d, 48h, 90m, or never",
                culvert::quoted(text));
  }
  if (seconds > hubapi::kMaxInviteExpiry) return too_long();
  return seconds;
}

Result<SocketAddr> parse_listen_addr(std::string_view text) {
  auto address = SocketAddr::parse(text);
  if (address) return address;
  return fail(ErrorCode::kInvalid, "{}; give an IP address and a port, e.g. 0.0.0.0:443 or [::]:443",
              address.error().message);
}

Result<HttpOrigin> parse_http_origin(std::string_view text) {
  std::string_view rest = text;
  if (rest.contains("cvt_inv_"))  // a secret, not to be repeated
    return fail(ErrorCode::kInvalid,
                "is a token; give it with --token, and here what listens on this side, e.g. 3000");
  if (rest.starts_with("https://")) {
    return fail(ErrorCode::kInvalid,
                "{} speaks TLS, which `culvert http` does not; publish it with `culvert agent` and tls_mode "
                "passthrough",
                culvert::quoted(text));
  }
  bool is_url = rest.starts_with("http://");
  if (is_url) {
    rest.remove_prefix(7);
    if (rest.ends_with('/')) rest.remove_suffix(1);
    if (rest.contains('/') || rest.contains('?') || rest.contains('#') || rest.contains('@')) {
      return fail(ErrorCode::kInvalid, "{} has more than a host and a port; give http://HOST:PORT",
                  culvert::quoted(text));
    }
  }
  auto port = whole_number(rest);
  if (port && !is_url) {
    if (*port == 0 || *port > 65535)
      return fail(ErrorCode::kInvalid, "{} is no port from 1 to 65535", culvert::quoted(text));
    return HttpOrigin{"localhost", static_cast<uint16_t>(*port)};
  }
  bool has_port = rest.rfind(':') != std::string_view::npos && !rest.ends_with(']');
  auto origin = parse_host_port(is_url && !has_port ? fmt::format("{}:80", rest) : std::string(rest));
  if (!origin) {
    return fail(ErrorCode::kInvalid, "{} is no local service; give a PORT, HOST:PORT or http://HOST:PORT",
                culvert::quoted(text));
  }
  return HttpOrigin{std::move(origin->host), origin->port};
}

std::string format_time(UnixTime time) {
  std::time_t seconds = time.time_since_epoch().count();
  std::tm broken{};
  gmtime_r(&seconds, &broken);
  return format_tm("%Y-%m-%d %H:%M UTC", broken);
}

std::string format_clock(UnixTime time) {
  std::time_t seconds = time.time_since_epoch().count();
  std::tm broken{};
  localtime_r(&seconds, &broken);
  return format_tm("%H:%M:%S", broken);
}

}  // namespace culvert::cli
