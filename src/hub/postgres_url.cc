#include "hub/postgres_url.h"

#include <algorithm>
#include <memory>

#include "base/text.h"
#include "base/whole_number.h"
#include "hub/libpq.h"

namespace culvert::hub {
namespace {

constexpr std::string_view kForm = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

std::unexpected<Error> invalid(std::string_view what) {
  return fail(ErrorCode::kInvalid, "the database URL {} (expected {})", what, kForm);
}

// libpq takes the first of several @ for the end of the password, and what follows for the host, which is
// shown.
Result<> check_authority(std::string_view text) {
  const size_t end = std::min(text.find_first_of("/?"), text.size());
  const std::string_view authority = text.substr(0, end);
  const size_t at = authority.find('@');
  const bool has_another =
      at != std::string_view::npos && authority.find('@', at + 1) != std::string_view::npos;
  if (has_another || text.find('@', end) != std::string_view::npos)
    return invalid("has an @ behind the user's part; write @ as %40 and / as %2F in the password");
  std::string_view hosts = at == std::string_view::npos ? authority : authority.substr(at + 1);
  while (!hosts.empty()) {
    std::string_view host = hosts.substr(0, hosts.find(','));
    hosts.remove_prefix(std::min(host.size() + 1, hosts.size()));
    if (host.starts_with('[')) host = host.substr(std::min(host.find(']'), host.size()));
    const size_t colon = host.find(':');
    if (colon == std::string_view::npos) continue;
    const auto port = whole_number<uint16_t>(host.substr(colon + 1));
    if (!port || *port == 0) return invalid("has a port that is not a number from 1 to 65535");
  }
  return {};
}

}  // namespace

Result<PostgresUrl> PostgresUrl::parse(std::string_view text) {
  std::string_view rest = text;
  for (std::string_view scheme : {"postgres://", "postgresql://"}) {
    if (text.starts_with(scheme)) rest = text.substr(scheme.size());
  }
  if (rest.size() == text.size()) return invalid("does not begin with postgres://");
  if (text.find('\0') != std::string_view::npos) return invalid("contains a NUL");
  if (auto checked = check_authority(rest); !checked) return std::unexpected(checked.error());
  auto pq = Libpq::load();
  if (!pq) return std::unexpected(pq.error());

  PostgresUrl url;
  url.text_ = SecretString(text);
  char* reason = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype((*pq)->conninfo_free)> options(
      (*pq)->conninfo_parse(url.text().c_str(), &reason), (*pq)->conninfo_free);
  if (reason != nullptr) (*pq)->freemem(reason);  // it may repeat parts of the password
  if (!options)
    return invalid("is not one that PostgreSQL's client library takes; check its options and %-escapes");
  std::map<std::string_view, std::string> values;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    if (std::string_view(option->keyword) == "password") {
      url.password_ = SecretString(std::string_view(option->val));
    } else {
      values[option->keyword] = option->val;
    }
  }
  for (const char* host : {"hostaddr", "host"}) {
    if (const auto given = values.find(host); given != values.end() && !given->second.empty())
      url.name_ = given->second;
  }
  if (url.name_.empty()) url.name_ = "this host";
  if (!url.name_.starts_with('/') && url.name_ != "this host")
    url.name_ += ":" + (values.contains("port") ? values["port"] : "5432");
  const std::string database = values.contains("dbname") ? values["dbname"] : values["user"];
  url.name_ = fmt::format("{} at {}", culvert::quoted(database), printable(url.name_));
  return url;
}

std::string PostgresUrl::without_secrets(std::string message) const {
  const std::string& secret = password_.expose();
  if (secret.empty()) return message;
  for (size_t at = 0; (at = message.find(secret, at)) != std::string::npos;)
    message.replace(at, secret.size(), "***");
  return message;
}

}  // namespace culvert::hub
