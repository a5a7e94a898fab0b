#include "acme/options.h"

#include <algorithm>

#include "base/file.h"
#include "base/text.h"

namespace culvert::acme {
namespace {

// The root of a private CA, or a few of them.
constexpr size_t kMaxRootFile = 1024 * 1024;
constexpr std::string_view kSecondPrefix = "second-";

Result<HttpsUrl> parse_directory_setting(std::string_view text) {
  if (text == "letsencrypt") return parse_https_url("https://acme-v02.api.letsencrypt.org/directory");
  if (text == "letsencrypt-staging") {
    return parse_https_url("https://acme-staging-v02.api.letsencrypt.org/directory");
  }
  auto url = parse_https_url(text);
  if (url) return url;
  return fail(ErrorCode::kInvalid, "{}; or give letsencrypt or letsencrypt-staging", url.error().message);
}

// It goes behind "mailto:", where these would begin something else (RFC 6068, 2).
Result<std::string> parse_contact(std::string_view text) {
  const size_t at = text.find('@');
  const bool is_address =
      at != text.npos && at > 0 && at + 1 < text.size() && text.find('@', at + 1) == text.npos;
  if (!is_address || text.find_first_of(" ,?&#%<>\"\\") != text.npos || !is_printable(text) ||
      text.size() > 254) {
    return fail(ErrorCode::kInvalid, "invalid mail address {} (expected one like ops@example.com)",
                quoted(text));
  }
  return std::string(text);
}

Result<ChallengeType> parse_challenge_setting(std::string_view text) {
  const auto type = parse_challenge_type(text);
  if (type) return *type;
  return fail(ErrorCode::kInvalid, "unknown type of challenge {} (expected tls-alpn-01, http-01 or dns-01)",
              quoted(text));
}

void describe_ca(SettingsBuilder& settings, std::string_view prefix, CaOptions& ca) {
  const bool is_first = prefix.empty();
  const auto named = [prefix](std::string_view name) { return std::string(prefix) + std::string(name); };
  const auto flagged = [prefix](std::string_view name) { return fmt::format("acme-{}{}", prefix, name); };
  const auto text = [&](std::string_view name, std::string help, std::string details, std::string value_name,
                        std::string example, std::function<Result<>(std::string_view)> apply,
                        bool is_secret = false) {
    settings.add({.name = named(name),
                  .help = std::move(help),
                  .details = std::move(details),
                  .value_name = std::move(value_name),
                  .default_text = "none",
                  .default_is_words = true,
                  .example = std::move(example),
                  .flag = flagged(name),
                  .is_secret = is_secret,
                  .apply = std::move(apply)});
  };
  const auto as_text = [](std::string_view value) -> Result<std::string> { return std::string(value); };
  text("directory",
       is_first ? "ACME directory of the CA that issues public certificates"
                : "ACME directory of the CA that is asked when the first one fails",
       is_first ? "A URL, or `letsencrypt`, or `letsencrypt-staging`, whose certificates no browser believes "
                  "and whose "
                  "limits are wide: for trying a setup out."
                : "It is not asked when the name itself could not be proven: it would find the same.",
       "URL", "letsencrypt", [&ca](std::string_view value) -> Result<> {
         auto url = parse_directory_setting(value);
         if (!url) return std::unexpected(url.error());
         ca.directory = std::move(*url);
         return {};
       });
  text("root", "PEM file with the root that the CA's own HTTPS chains to",
       "For a CA of your own, such as step-ca. Without it the roots of the system are believed. Agents "
       "believe "
       "it too when they look whether their services answer.",
       "PATH", "/etc/culvert/ca-root.pem",
       store(ca.root_file, [](std::string_view value) -> Result<std::filesystem::path> {
         return std::filesystem::path(value);
       }));
  text("eab-key-id", "key id of your account with the CA (external account binding)",
       "Some CAs issue only for accounts that were made on their website.", "ID", "kid-1",
       store(ca.external_key_id, as_text));
  text("eab-mac-key", "MAC key that belongs to it, in base64url", "", "KEY",
       "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajV",
       store(ca.external_mac_key,
             [](std::string_view value) -> Result<SecretString> { return SecretString(value); }),
       true);
  text("profile", "certificate profile of the CA",
       "For example `shortlived` of Let's Encrypt: certificates that live six days.", "NAME", "shortlived",
       store(ca.profile, as_text));
  text("preferred-root", "common name of the root of the chain to take, where the CA offers several",
       "The CA's own choice is taken if no chain leads to this root.", "NAME", "ISRG Root X1",
       store(ca.preferred_root, as_text));
}

Result<Ca> make_ca(const CaOptions& from, const Options& options, std::string_view prefix) {
  Ca ca{.directory = *from.directory,
        .root_pem = {},
        .contact = options.contact,
        .terms_agreed = options.terms_agreed,
        .external_account = std::nullopt,
        .profile = from.profile,
        .preferred_root = from.preferred_root};
  if (!from.root_file.empty()) {
    auto pem = read_file(from.root_file, kMaxRootFile);
    auto roots = pem ? tls::check_roots(std::string(as_text(*pem))) : std::unexpected(pem.error());
    if (!roots) {
      return fail(roots.error().code, "acme.{}root: {}: {}", prefix, from.root_file.native(),
                  roots.error().message);
    }
    ca.root_pem = as_text(*pem);
  }
  if (from.external_key_id.empty() && from.external_mac_key.empty()) return ca;
  auto account = parse_external_account(from.external_key_id, from.external_mac_key);
  if (!account) {
    return fail(account.error().code, "acme.{}eab-key-id and {}eab-mac-key: {}", prefix, prefix,
                account.error().message);
  }
  ca.external_account = std::move(*account);
  return ca;
}

}  // namespace

void describe(SettingsBuilder& settings, Options& options) {
  settings.section("acme");
  describe_ca(settings, "", options.first);
  describe_ca(settings, kSecondPrefix, options.second);
  settings.add({.name = "agree-terms",
                .help = "whether you agree to the terms of service of these CAs",
                .details = "A CA that has terms is not asked for anything before.",
                .flag = "acme-agree-terms"},
               options.terms_agreed);
  settings.add({.name = "contact",
                .help = "mail address at which a CA reaches you",
                .value_name = "MAIL",
                .default_text = "none",
                .default_is_words = true,
                .example = "ops@example.com",
                .flag = "acme-contact",
                .apply = store(options.contact, parse_contact)});
  settings.add(
      {.name = "challenges",
       .help = "how names are proven, in the order in which it is tried",
       .details =
           "`tls-alpn-01` needs port 443, `http-01` port 80, and `dns-01` a name server that this node "
           "can change; a wildcard is proven by `dns-01` alone.",
       .value_name = "TYPE,...",
       .default_text = "all that this node can answer",
       .default_is_words = true,
       .example = "tls-alpn-01",
       .flag = "acme-challenges",
       .form = SettingForm::kList,
       .apply = [&options](std::string_view text) -> Result<> {
         auto type = parse_challenge_setting(text);
         if (!type) return std::unexpected(type.error());
         if (std::ranges::find(options.challenge_types, *type) == options.challenge_types.end()) {
           options.challenge_types.push_back(*type);
         }
         return {};
       }});
  settings.add({.name = "max-per-domain",
                .help = "the most certificates for new names of one registered domain in 7 days",
                .details = "Let's Encrypt issues 50. Further names wait; renewals do not count.",
                .flag = "acme-max-per-domain"},
               options.budgets.domain.most, 1, 1'000'000);
  settings.add({.name = "max-per-tenant",
                .help = "the most orders for new names of one tenant in a day",
                .details = "Further names wait; renewals do not count.",
                .flag = "acme-max-per-tenant"},
               options.budgets.tenant.most, 1, 1'000'000);
}

Result<std::optional<ManagerOptions>> manager_options(const Options& options) {
  if (!options.first.directory) {
    if (!options.second.directory) return std::nullopt;
    return fail(ErrorCode::kInvalid,
                "acme.second-directory is set, but acme.directory is not; set that one first");
  }
  ManagerOptions out{.issuer = {.cas = {}}, .budgets = options.budgets};
  if (!options.challenge_types.empty()) out.issuer.challenge_types = options.challenge_types;
  auto first = make_ca(options.first, options, "");
  if (!first) return std::unexpected(first.error());
  out.issuer.cas.push_back(std::move(*first));
  if (!options.second.directory) return out;
  auto second = make_ca(options.second, options, kSecondPrefix);
  if (!second) return std::unexpected(second.error());
  if (second->directory == out.issuer.cas.front().directory) {
    return fail(ErrorCode::kInvalid, "acme.second-directory is the same CA as acme.directory");
  }
  out.issuer.cas.push_back(std::move(*second));
  return out;
}

}  // namespace culvert::acme
