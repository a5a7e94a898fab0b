#include "cli/invite_commands.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/text_table.h"
#include "cli/values.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

CommandInfo create_info() {
  return {.name = "invite create",
          .summary = "Create an invite and print its token",
          .examples =
              "  culvert invite create --name laptop --hostnames 'app.example.com,*.dev.example.com'\n"
              "  culvert invite create --hostnames app.example.com --expires 30d\n"
              "  (umask 077; culvert invite create --hostnames app.example.com > token)\n",
          .switches = {{.flag = "json", .help = "print the hub's answer as JSON"}}};
}

CommandInfo list_info() {
  return {.name = "invite list",
          .summary = "List the hub's invites",
          .examples = "  culvert invite list\n  culvert invite list --json\n",
          .switches = {{.flag = "json", .help = "print the hub's answers as JSON, one page a line"}}};
}

bool is_invite_id(std::string_view word) {
  auto bytes = from_base64url(word);
  return bytes && bytes->size() == 16;
}

CommandInfo revoke_info() {
  return {.name = "invite revoke",
          .summary = "Revoke an invite: its agents are cut off at once",
          .examples = "  culvert invite revoke AAECAwQFBgcICQoLDA0ODw\n",
          .positional = Positional{.name = "ID",
                                   .help = "the invite's ID, as `culvert invite list` shows it",
                                   // Base64url has dashes, and no flag looks like 16 bytes of it.
                                   .accepts_dash = is_invite_id}};
}

Result<json::object> parse_answer(std::string_view text) {
  auto answer = parse_json_object("the hub's answer", text);
  if (!answer)
    return fail(ErrorCode::kInvalid, "{}. Is it a Culvert hub of this version?", answer.error().message);
  return answer;
}

// Ready to be shown, like everything that comes from the hub.
std::string text_member(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  const json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string() : printable({text->data(), text->size()});
}

std::string time_member(const json::object& object, const char* name, const char* when_absent) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_int64()) return when_absent;
  return format_time(UnixTime(std::chrono::seconds(value->get_int64())));
}

std::string hostnames_member(const json::object& object) {
  std::string out;
  const json::value* value = object.if_contains("hostnames");
  if (value == nullptr || !value->is_array()) return out;
  for (const json::value& entry : value->get_array()) {
    if (!entry.is_string()) continue;
    out += fmt::format("{}{}", out.empty() ? "" : ",",
                       std::string_view(entry.get_string().data(), entry.get_string().size()));
  }
  return printable(out);
}

}  // namespace

Result<CreatedInvite> read_created_invite(std::string_view answer_json) {
  auto answer = parse_answer(answer_json);
  if (!answer) return std::unexpected(answer.error());
  CreatedInvite invite{
      .id = text_member(*answer, "invite_id"), .facts = {}, .token = text_member(*answer, "token")};
  if (invite.token.empty())
    return fail(ErrorCode::kInvalid, "hub: its answer holds no token. Is it a Culvert hub of this version?");
  invite.facts = {fmt::format("invite    {}", invite.id),
                  fmt::format("name      {}", text_member(*answer, "name")),
                  fmt::format("tenant    {}", text_member(*answer, "tenant_id")),
                  fmt::format("hostnames {}", hostnames_member(*answer)),
                  fmt::format("expires   {}", time_member(*answer, "expires_at", "never")),
                  "",
                  "The token is a secret: its holder can serve these hostnames. It is not shown again."};
  return invite;
}

Result<InvitePage> read_invite_page(std::string_view answer_json) {
  auto answer = parse_answer(answer_json);
  if (!answer) return std::unexpected(answer.error());
  const json::value* invites = answer->if_contains("invites");
  if (invites == nullptr || !invites->is_array()) {
    return fail(ErrorCode::kInvalid,
                "hub: its answer holds no invites. Is it a Culvert hub of this version?");
  }
  InvitePage page;
  for (const json::value& entry : invites->get_array()) {
    if (!entry.is_object()) continue;
    const json::object& invite = entry.get_object();
    page.rows.push_back({text_member(invite, "invite_id"), text_member(invite, "name"),
                         text_member(invite, "status"), time_member(invite, "expires_at", "never"),
                         time_member(invite, "created_at", "-"), hostnames_member(invite)});
  }
  std::string next = text_member(*answer, "next");
  if (!next.empty()) page.next = std::move(next);
  return page;
}

InviteCreateCommand::InviteCreateCommand() : Command(create_info()), settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  builder.section("invite");
  builder.add({.name = "name",
               .help = "the name of the invite in lists",
               .value_name = "NAME",
               .default_text = "two random words",
               .default_is_words = true,
               .example = "laptop",
               .variable = "CULVERT_INVITE_NAME",
               .apply = [this](std::string_view text) -> Result<> {
                 name_ = text;
                 return {};
               }});
  builder.add(
      {.name = "hostnames",
       .help = "the hostnames that the invite grants; *.example.com grants every name below example.com",
       .details = "Required. A hostname may be granted by one invite only, and the hub's own name by none.",
       .value_name = "NAME,...",
       .example = "*.dev.example.com",
       .variable = "CULVERT_INVITE_HOSTNAMES",
       .form = SettingForm::kList,
       .apply = [this](std::string_view text) -> Result<> {
         // All together: they are checked against each other.
         hostnames_text_ += hostnames_text_.empty() ? "" : ",";
         hostnames_text_ += text;
         auto patterns = route::parse_host_patterns(hostnames_text_);
         if (!patterns) return std::unexpected(patterns.error());
         hostnames_ = std::move(*patterns);
         return {};
       }});
  builder.add({.name = "expires",
               .help = "how long the invite lasts: 30d, 48h, ..., or never",
               .details = "The longest time is `3653d`; `0` means never as well.",
               .value_name = "TIME",
               .default_text = "never",
               .variable = "CULVERT_INVITE_EXPIRES",
               .apply = store(expires_in_, parse_expiry)});
  access_.describe(builder);
}

Result<> InviteCreateCommand::resolve(const Arguments& arguments, const Environment& environment) {
  as_json_ = arguments.has_switch("json");
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  if (hostnames_.empty()) {
    return fail(ErrorCode::kInvalid,
                "--hostnames: is missing; give e.g. --hostnames 'app.example.com,*.dev.example.com'");
  }
  return access_.find(settings_, environment);
}

std::string InviteCreateCommand::request_json() const {
  json::object body;
  if (!name_.empty()) body["name"] = name_;
  json::array hostnames;
  for (const route::HostPattern& pattern : hostnames_) hostnames.push_back(json::string(pattern.text()));
  body["hostnames"] = std::move(hostnames);
  if (expires_in_) body["expires_in_secs"] = expires_in_->count();
  return json::serialize(body);
}

Result<> InviteCreateCommand::run() {
  auto answer = access_.call("POST", "/v1/invites", request_json());
  if (!answer) return std::unexpected(answer.error());
  auto invite = read_created_invite(*answer);
  if (!invite) return std::unexpected(invite.error());
  created_id_ = invite->id;
  if (as_json_) {
    print("{}\n", printable_json(*answer));
    return {};
  }
  for (const std::string& fact : invite->facts) write_line(standard_error(), fact);
  standard_error().drain(kOutputPatience);  // on a terminal the token comes after them
  print("{}\n", invite->token);
  return {};
}

std::string InviteCreateCommand::when_output_is_lost() const {
  if (created_id_.empty()) return {};
  return fmt::format(
      "the invite {0} exists all the same, but its token is not shown again; run `culvert invite revoke {0}` "
      "and create another invite",
      created_id_);
}

InviteListCommand::InviteListCommand() : Command(list_info()), settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  access_.describe(builder);
}

Result<> InviteListCommand::resolve(const Arguments& arguments, const Environment& environment) {
  as_json_ = arguments.has_switch("json");
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  return access_.find(settings_, environment);
}

Result<> InviteListCommand::run() {
  std::vector<std::vector<std::string>> rows = {{"ID", "NAME", "STATUS", "EXPIRES", "CREATED", "HOSTNAMES"}};
  std::string path = "/v1/invites";
  while (true) {
    auto answer = access_.call("GET", path, "");
    if (!answer) return std::unexpected(answer.error());
    auto page = read_invite_page(*answer);
    if (!page) return std::unexpected(page.error());
    if (as_json_) print("{}\n", printable_json(*answer));
    rows.insert(rows.end(), page->rows.begin(), page->rows.end());
    if (!page->next) break;
    path = "/v1/invites?after=" + *page->next;
  }
  if (!as_json_) print("{}", format_table(std::move(rows)));
  return {};
}

InviteRevokeCommand::InviteRevokeCommand() : Command(revoke_info()), settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  access_.describe(builder);
}

Result<> InviteRevokeCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  id_ = arguments.positional;
  if (!is_invite_id(id_)) {
    return fail(ErrorCode::kInvalid,
                "ID: not an invite ID; copy it from `culvert invite list` (22 characters)");
  }
  return access_.find(settings_, environment);
}

Result<> InviteRevokeCommand::run() {
  auto answer = access_.call("DELETE", "/v1/invites/" + id_, "");
  if (!answer) return std::unexpected(answer.error());
  print("revoked {}\n", id_);
  return {};
}

std::vector<std::unique_ptr<Command>> make_invite_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<InviteCreateCommand>());
  commands.push_back(std::make_unique<InviteListCommand>());
  commands.push_back(std::make_unique<InviteRevokeCommand>());
  return commands;
}

}  // namespace culvert::cli
