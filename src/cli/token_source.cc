#include "cli/token_source.h"

#include "base/file.h"
#include "base/log.h"
#include "cli/config_file.h"

namespace culvert::cli {
namespace {

constexpr size_t kMaxTokenFile = 16 * 1024;

template <class Token>
using Parser = Result<Token> (*)(std::string_view text);

template <class Token>
Result<Token> parse(Parser<Token> parser, std::string_view text, const std::string& source) {
  auto token = parser(text);
  if (!token) return fail(ErrorCode::kInvalid, "{}: {}", source, token.error().message);
  return token;
}

template <class Token>
Result<Token> read_from(Parser<Token> parser, const std::filesystem::path& path, const std::string& source) {
  auto content = read_file(path, kMaxTokenFile);
  if (!content) return fail(content.error().code, "{}: {}", source, content.error().message);
  WipeAtEnd wiper(*content);
  if (others_may_read(path)) {
    log_warn("secret_in_readable_file", "file={} hint=\"chmod 600\"", culvert::quoted(path.string()));
  }
  return parse(parser, as_text(*content), fmt::format("{} ({})", source, path.string()));
}

Setting token_setting(std::string name, std::string help, std::string example,
                      std::optional<SecretString>& text) {
  return {.name = std::move(name),
          .help = std::move(help),
          .details = "Flags can be seen in process lists: prefer the file or the variable.",
          .value_name = "TOKEN",
          .example = std::move(example),
          .is_secret = true,
          .apply = [&text](std::string_view given) -> Result<> {
            text = SecretString(given);
            return {};
          }};
}

Setting file_setting(std::string name, std::string example, std::optional<std::filesystem::path>& file) {
  return {.name = std::move(name),
          .help = "a file with the token",
          .details = "It cannot be combined with a token.",
          .value_name = "FILE",
          .example = std::move(example),
          .apply = [&file](std::string_view given) -> Result<> {
            if (given.empty()) return fail(ErrorCode::kInvalid, "is empty; give the path of a file");
            file = given;
            return {};
          }};
}

std::unexpected<Error> two_tokens(const Settings& settings, std::string_view one, std::string_view other) {
  return fail(ErrorCode::kInvalid, "{} and {}: both give a token; keep one of them", settings.source(one),
              settings.source(other));
}

}  // namespace

void TokenSource::describe(SettingsBuilder& settings) {
  settings.section("agent");
  settings.add(token_setting("token", "the invite token, as `culvert invite create` printed it",
                             "cvt_inv_1...", text_));
  settings.add(file_setting("token-file", "/etc/culvert/token", file_));
}

Result<hubapi::InviteToken> TokenSource::read(const Settings& settings,
                                              const std::filesystem::path& saved) const {
  if (text_ && file_) return two_tokens(settings, "token", "token-file");
  if (text_) return parse(hubapi::parse_invite_token, text_->expose(), settings.source("token"));
  if (file_) return read_from(hubapi::parse_invite_token, *file_, settings.source("token-file"));
  std::error_code ignored;
  if (!saved.empty() && std::filesystem::exists(saved, ignored))
    return read_from(hubapi::parse_invite_token, saved, "saved token");
  return fail(
      ErrorCode::kInvalid,
      "token: there is none. Make one on the node with `culvert invite create --hostnames ...`, then give "
      "--token, --token-file or CULVERT_TOKEN");
}

void EdgeTokenSource::describe(SettingsBuilder& settings) {
  settings.add(token_setting("edge-token", "the token of an edge, as `culvert edge-invite create` printed it",
                             "cvt_edge_1...", text_));
  settings.add(file_setting("edge-token-file", "/etc/culvert/edge-token", file_));
}

Result<std::optional<hubapi::EdgeToken>> EdgeTokenSource::read(const Settings& settings) const {
  if (text_ && file_) return two_tokens(settings, "edge-token", "edge-token-file");
  if (text_) return parse(hubapi::parse_edge_token, text_->expose(), settings.source("edge-token"));
  if (file_) return read_from(hubapi::parse_edge_token, *file_, settings.source("edge-token-file"));
  return std::nullopt;
}

Result<SavedToken> save_token(const std::filesystem::path& path, const hubapi::InviteToken& token) {
  auto made = create_private_directory(path.parent_path());
  if (!made) return std::unexpected(made.error());
  SavedToken saved;
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    auto content = read_file(path, kMaxTokenFile);
    if (!content) return std::unexpected(content.error());
    WipeAtEnd wiper(*content);
    auto kept = hubapi::parse_invite_token(as_text(*content));
    saved.was_there = kept && kept->encode() == token.encode();
    if (saved.was_there) return saved;
    saved.replaced = kept ? kept->describe() : "something that is not a token";
    saved.old_place = path.string() + ".old";
    auto moved = replace_file(saved.old_place, *content, 0600);
    if (!moved) return std::unexpected(moved.error());
  }
  auto line = SecretString::take(token.encode() + "\n");
  auto written = replace_file(path, as_bytes(line.expose()), 0600);
  if (!written) return std::unexpected(written.error());
  return saved;
}

}  // namespace culvert::cli
