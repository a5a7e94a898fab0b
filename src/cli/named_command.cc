#include "cli/named_command.h"

#include "base/encoding.h"
#include "base/json.h"
#include "base/key.h"
#include "base/text.h"
#include "cli/output.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

bool is_id(std::string_view word) {
  auto bytes = from_base64url(word);
  return (bytes && bytes->size() == 16) || PublicKey::parse(word).has_value();
}

}  // namespace

Positional invite_word() {
  return {.name = "INVITE",
          .help = "its ID, its tenant's ID or its name, as `culvert invite list` shows them",
          .accepts_dash = is_id};  // base64url has dashes
}

Positional edge_word() { return {.name = "EDGE", .help = "its name or id, as `culvert edge list` shows it"}; }

Result<std::string> find_invite(std::string_view word, const Fetch& fetch) {
  if (is_id(word)) return std::string(word);
  std::vector<std::string> found;
  std::string path = "/v1/invites";
  while (true) {
    auto answer = fetch(path);
    if (!answer) return std::unexpected(answer.error());
    auto page = parse_json_object("the hub's answer", *answer);
    if (!page) return std::unexpected(page.error());
    JsonReader reader("the hub's answer", *page);
    for (const json::value& entry : reader.array("invites")) {
      if (!entry.is_object()) continue;
      JsonReader invite("an invite in the hub's answer", entry.get_object());
      if (invite.text("name") != word || invite.text("status") == "revoked") continue;
      found.emplace_back(invite.text("invite_id"));
    }
    const std::string_view next = reader.optional_text("next");
    if (reader.error()) return std::unexpected(*reader.error());
    if (next.empty()) break;
    path = fmt::format("/v1/invites?after={}", to_percent(next));
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return fail(ErrorCode::kNotFound, "no invite is called {}; `culvert invite list` shows them",
                quoted(word));
  }
  std::string ids;
  for (const std::string& id : found) ids += (ids.empty() ? "" : ", ") + printable(id);
  return fail(ErrorCode::kConflict, "{} invites are called {}; give the ID of one: {}", found.size(),
              quoted(word), ids);
}

NamedCommand::NamedCommand(NamedCommandInfo info) : OperatorCommand(info.command), info_(std::move(info)) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
  access_.describe(builder);
}

Result<> NamedCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  word_ = arguments.positional;
  return access_.find(settings_, environment);
}

ExitStatus NamedCommand::failure_status() const {
  return is_unknown_ ? ExitStatus::kNotFound : OperatorCommand::failure_status();
}

Result<> NamedCommand::run() {
  std::string id = word_;
  if (info_.names_invite) {
    auto found =
        find_invite(word_, [this](std::string path) { return access_.call("GET", std::move(path), ""); });
    is_unknown_ = !found && found.error().code == ErrorCode::kNotFound;
    if (!found) return std::unexpected(found.error());
    id = std::move(*found);
  }
  auto answer = access_.call(info_.method, info_.path + to_percent(id), info_.body);
  if (!answer) return std::unexpected(answer.error());
  auto text = info_.done.empty()
                  ? format_object(*answer, info_.columns, output_)
                  : format_done(fmt::format("{} {}", info_.done, printable(word_)), *answer, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

}  // namespace culvert::cli
