#include "cli/token_source.h"

#include "base/file.h"
#include "base/log.h"
#include "cli/config_file.h"

namespace culvert::cli {
namespace {

constexpr size_t kMaxTokenFile = 16 * 1024;

Result<hubapi::InviteToken> parse(std::string_view text, const std::string& source) {
  auto token = hubapi::parse_invite_token(text);
  if (!token) return fail(ErrorCode::kInvalid, "{}: {}", source, token.error().message);
  return token;
}

Result<hubapi::InviteToken> read_from(const std::filesystem::path& path, const std::string& source) {
  auto content = read_file(path, kMaxTokenFile);
  if (!content) return fail(content.error().code, "{}: {}", source, content.error().message);
  WipeAtEnd wiper(*content);
  if (others_may_read(path)) {
    log_warn("secret_in_readable_file", "file={} hint=\"chmod 600\"", culvert::quoted(path.string()));
  }
  return parse(as_text(*content), fmt::format("{} ({})", source, path.string()));
}

}  // namespace

void TokenSource::describe(SettingsBuilder& settings) {
  settings.section("agent");
  settings.add({.name = "token",
                .help = "the invite token, as `culvert invite create` printed it",
                .details = "Flags can be seen in process lists: prefer the file or the variable.",
                .value_name = "TOKEN",
                .example = "cvt_inv_1...",
                .is_secret = true,
                .apply = [this](std::string_view text) -> Result<> {
                  text_ = SecretString(text);
                  return {};
                }});
  settings.add({.name = "token-file",
                .help = "a file with the token",
                .details = "It cannot be combined with a token.",
                .value_name = "FILE",
                .example = "/etc/culvert/token",
                .apply = [this](std::string_view text) -> Result<> {
                  if (text.empty()) return fail(ErrorCode::kInvalid, "is empty; give the path of a file");
                  file_ = text;
                  return {};
                }});
}

Result<hubapi::InviteToken> TokenSource::read(const Settings& settings,
                                              const std::filesystem::path& saved) const {
  if (text_ && file_) {
    return fail(ErrorCode::kInvalid, "{} and {}: both give a token; keep one of them",
                settings.source("token"), settings.source("token-file"));
  }
  if (text_) return parse(text_->expose(), settings.source("token"));
  if (file_) return read_from(*file_, settings.source("token-file"));
  std::error_code ignored;
  if (!saved.empty() && std::filesystem::exists(saved, ignored)) return read_from(saved, "saved token");
  return fail(
      ErrorCode::kInvalid,
      "token: there is none. Make one on the node with `culvert invite create --hostnames ...`, then give "
      "--token, --token-file or CULVERT_TOKEN");
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
