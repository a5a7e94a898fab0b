#include "net/resolv_conf.h"

#include <algorithm>
#include <optional>
#include <span>

#include "base/ascii.h"
#include "base/whole_number.h"

namespace culvert::net {
namespace {

constexpr size_t kMaxServers = 8;
constexpr size_t kMaxSearch = 8;
constexpr size_t kMaxName = 253;
constexpr size_t kMaxHostsAddresses = 16;
constexpr uint16_t kDnsPort = 53;

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  size_t at = 0;
  while ((at = text.find_first_not_of(separators, at)) != text.npos) {
    const size_t end = std::min(text.find_first_of(separators, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end;
  }
  return parts;
}

std::vector<std::string_view> words_of(std::string_view line, std::string_view comment) {
  return split(line.substr(0, line.find_first_of(comment)), " \t\r");
}

// "ndots:5" gives 5 when asked for "ndots:".
std::optional<unsigned> option_value(std::string_view word, std::string_view name, unsigned least,
                                     unsigned most) {
  if (!word.starts_with(name)) return std::nullopt;
  word.remove_prefix(name.size());
  const auto value = whole_number<unsigned>(word);
  return value ? std::optional(std::clamp(*value, least, most)) : std::nullopt;
}

void apply_option(ResolvConf& conf, std::string_view word) {
  if (const auto ndots = option_value(word, "ndots:", 0, 15)) conf.ndots = *ndots;
  // More would outlive every caller's deadline.
  if (const auto timeout = option_value(word, "timeout:", 1, 5))
    conf.timeout = std::chrono::seconds(*timeout);
  if (const auto attempts = option_value(word, "attempts:", 1, 5)) conf.attempts = *attempts;
  if (word == "rotate") conf.rotate = true;
}

// In units of the timeout.
int64_t waits(const ResolvConf& conf) {
  return static_cast<int64_t>(conf.servers.size()) * ((int64_t{1} << conf.attempts) - 1);
}

std::string_view without_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf conf;
  for (const std::string_view line : split(text, "\n")) {
    const auto words = words_of(line, "#;");
    if (words.size() < 2) continue;
    const std::span<const std::string_view> values = std::span(words).subspan(1);
    if (words[0] == "nameserver") {
      const auto server = parse_ip(values[0], kDnsPort);
      if (server && conf.servers.size() < kMaxServers) conf.servers.push_back(*server);
    } else if (words[0] == "search" || words[0] == "domain") {
      conf.search.clear();  // the last such line counts
      for (const std::string_view domain : values.first(std::min(values.size(), kMaxSearch))) {
        if (domain != ".") conf.search.emplace_back(without_dot(domain));
      }
    } else if (words[0] == "options") {
      for (const std::string_view value : values) apply_option(conf, value);
    }
  }
  if (conf.servers.empty()) conf.servers.push_back(SocketAddr::v4({127, 0, 0, 1}, kDnsPort));
  return conf;
}

Duration longest_wait(const ResolvConf& conf) { return conf.timeout * waits(conf); }

void limit_wait(ResolvConf& conf, Duration limit) {
  while (longest_wait(conf) > limit && conf.servers.size() * (conf.attempts - 1) >= 2) --conf.attempts;
  conf.timeout = std::min(conf.timeout, limit / waits(conf));
}

std::vector<std::string> search_candidates(const ResolvConf& conf, std::string_view name) {
  if (name.ends_with('.')) return {std::string(without_dot(name))};
  std::vector<std::string> found;
  for (const std::string& domain : conf.search) {
    std::string candidate = std::string(name) + "." + domain;
    if (candidate.size() <= kMaxName) found.push_back(std::move(candidate));
  }
  const bool itself_first = static_cast<unsigned>(std::ranges::count(name, '.')) >= conf.ndots;
  found.insert(itself_first ? found.begin() : found.end(), std::string(name));
  return found;
}

std::vector<SocketAddr> find_in_hosts(std::string_view text, std::string_view name) {
  std::vector<SocketAddr> found;
  const std::string wanted = to_lower(without_dot(name));
  while (!text.empty() && found.size() < kMaxHostsAddresses) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    const auto words = words_of(line, "#");
    const auto matches = [&](std::string_view alias) { return equals_lower(without_dot(alias), wanted); };
    if (words.size() < 2 || std::none_of(words.begin() + 1, words.end(), matches)) continue;
    const auto address = parse_ip(words[0]);
    if (address && std::ranges::find(found, *address) == found.end()) found.push_back(*address);
  }
  return found;
}

}  // namespace culvert::net
