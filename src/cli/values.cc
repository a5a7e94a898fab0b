#include "cli/values.h"

#include <ctime>

#include "base/text.h"
#include "base/values.h"
#include "hubapi/declaration.h"

namespace culvert::cli {
namespace {

std::string format_tm(const char* format, const std::tm& time) {
  char out[64];
  return std::string(out, std::strftime(out, sizeof out, format, &time));
}

}  // namespace

Result<std::optional<std::chrono::seconds>> parse_expiry(std::string_view text) {
  if (text == "never" || text == "0") return std::nullopt;
  const auto too_long = [text] {
    return fail(ErrorCode::kInvalid, "lifetime {} is too long (expected at most {}d, or never)",
                culvert::quoted(text),
                std::chrono::duration_cast<std::chrono::days>(hubapi::kMaxInviteExpiry).count());
  };
  auto duration = parse_duration(text, std::chrono::ceil<std::chrono::days>(hubapi::kMaxInviteExpiry));
  if (!duration) {
    if (duration.error().code == ErrorCode::kLimit) return too_long();
    return fail(ErrorCode::kInvalid, "invalid lifetime {} (expected e.g. 30d, 48h, 90m, or never)",
                culvert::quoted(text));
  }
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*duration);
  if (seconds < std::chrono::seconds(1)) {
    return fail(ErrorCode::kInvalid,
                "lifetime {} is less than a second (expected e.g. 30d, 48h, 90m, or never)",
                culvert::quoted(text));
  }
  if (seconds > hubapi::kMaxInviteExpiry) return too_long();
  return seconds;
}

Result<HostPort> parse_http_origin(std::string_view text) {
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
  const bool is_number = !rest.empty() && rest.find_first_not_of("0123456789") == std::string_view::npos;
  if (is_number && !is_url) {
    auto port = parse_port(rest);
    if (!port)
      return fail(ErrorCode::kInvalid, "invalid port {} (expected 1 to 65535)", culvert::quoted(text));
    return HostPort{"localhost", *port};
  }
  bool has_port = rest.rfind(':') != std::string_view::npos && !rest.ends_with(']');
  auto origin = parse_host_port(is_url && !has_port ? fmt::format("{}:80", rest) : std::string(rest));
  if (!origin) {
    return fail(ErrorCode::kInvalid,
                "invalid local service {} (expected PORT, HOST:PORT or http://HOST:PORT)",
                culvert::quoted(text));
  }
  return origin;
}

std::string format_time(UnixTime time) {
  std::time_t seconds = time.time_since_epoch().count();
  std::tm broken{};
  gmtime_r(&seconds, &broken);
  return format_tm("%Y-%m-%d %H:%M UTC", broken);
}

std::string format_bytes(uint64_t bytes) {
  constexpr std::string_view kUnits = "kMGTPE";
  if (bytes < 1000) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  // What would be rounded to 1000.0 has the next unit.
  for (; value >= 999.95 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return fmt::format("{:.1f} {}B", value, kUnits[unit]);
}

std::string format_latency(std::chrono::microseconds latency) {
  const auto value = static_cast<double>(latency.count());
  if (latency < std::chrono::milliseconds(1)) return fmt::format("{} us", latency.count());
  if (latency < std::chrono::seconds(1)) return fmt::format("{:.1f} ms", value / 1000);
  return fmt::format("{:.1f} s", value / 1'000'000);
}

std::string format_span(std::chrono::seconds span) {
  constexpr std::pair<int64_t, std::string_view> kUnits[] = {{86'400, "d"}, {3600, "h"}, {60, "min"}};
  for (const auto& [length, unit] : kUnits) {
    if (std::abs(span.count()) >= length) return fmt::format("{} {}", span.count() / length, unit);
  }
  return fmt::format("{} s", span.count());
}

std::string format_clock(UnixTime time) {
  std::time_t seconds = time.time_since_epoch().count();
  std::tm broken{};
  localtime_r(&seconds, &broken);
  return format_tm("%H:%M:%S", broken);
}

}  // namespace culvert::cli
