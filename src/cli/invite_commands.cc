#include "cli/invite_commands.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/text_table.h"
#include "cli/values.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

CLI::App& add_app(CLI::App& group, const char* name, const char* description, const char* footer) {
  CLI::App* app = group.add_subcommand(name, description);
  app->footer(footer);
  return *app;
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

Result<std::string> format_created_invite(std::string_view answer_json) {
  auto answer = parse_answer(answer_json);
  if (!answer) return std::unexpected(answer.error());
  std::string token = text_member(*answer, "token");
  if (token.empty())
    return fail(ErrorCode::kInvalid, "hub: its answer holds no token. Is it a Culvert hub of this version?");
  return fmt::format(
      "invite    {}\n"
      "name      {}\n"
      "tenant    {}\n"
      "hostnames {}\n"
      "expires   {}\n"
      "\n"
      "The token is a secret: whoever has it can serve these hostnames. It is not shown again.\n"
      "{}\n",
      text_member(*answer, "invite_id"), text_member(*answer, "name"), text_member(*answer, "tenant_id"),
      hostnames_member(*answer), time_member(*answer, "expires_at", "never"), token);
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

InviteCreateCommand::InviteCreateCommand(CLI::App& group)
    : Command(
          add_app(group, "create", "Make an invite and print its token",
                  "Examples:\n"
                  "  culvert invite create --name laptop --hostnames app.example.com\n"
                  "  culvert invite create --hostnames 'app.example.com,*.dev.example.com' --expires 30d\n"
                  "  TOKEN=$(culvert invite create --hostnames app.example.com | tail -n 1)")),
      settings_(app(), true) {
  settings_.add({.key = "name",
                 .value_name = "NAME",
                 .help = "what to call it in lists",
                 .default_text = "two random words",
                 .apply = [this](std::string_view text) -> Result<> {
                   name_ = text;
                   return {};
                 },
                 .variable = "CULVERT_INVITE_NAME"});
  settings_.add({.key = "hostnames",
                 .value_name = "NAME,...",
                 .help = "hostnames it grants; *.example.com grants every name below example.com",
                 .apply = [this](std::string_view text) -> Result<> {
                   auto patterns = route::parse_host_patterns(text);
                   if (!patterns) return std::unexpected(patterns.error());
                   hostnames_ = std::move(*patterns);
                   return {};
                 },
                 .variable = "CULVERT_INVITE_HOSTNAMES"});
  settings_.add({.key = "expires",
                 .value_name = "TIME",
                 .help = "30d, 48h, ..., or never",
                 .default_text = "never",
                 .apply = store(expires_in_, parse_expiry),
                 .variable = "CULVERT_INVITE_EXPIRES"});
  as_json_ = app().add_flag_callback("--json", [] {}, "print the hub's answer as JSON");
  access_.add_to(settings_);
}

Result<> InviteCreateCommand::resolve(const Environment& environment) {
  auto resolved = settings_.resolve(environment);
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
  auto object = parse_answer(*answer);
  if (object) created_id_ = text_member(*object, "invite_id");
  if (as_json_->count() > 0) {
    if (!object) return std::unexpected(object.error());
    print("{}\n", printable_json(*answer));
    return {};
  }
  auto text = format_created_invite(*answer);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

std::string InviteCreateCommand::when_output_is_lost() const {
  if (created_id_.empty()) return {};
  return fmt::format(
      "the invite {0} exists all the same, but its token is not shown again: `culvert invite revoke {0}` and "
      "make "
      "another",
      created_id_);
}

InviteListCommand::InviteListCommand(CLI::App& group)
    : Command(add_app(group, "list", "List the hub's invites",
                      "Examples:\n  culvert invite list\n  culvert invite list --json")),
      settings_(app(), true) {
  as_json_ = app().add_flag_callback("--json", [] {}, "print the hub's answers as JSON, one page a line");
  access_.add_to(settings_);
}

Result<> InviteListCommand::resolve(const Environment& environment) {
  auto resolved = settings_.resolve(environment);
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
    if (as_json_->count() > 0) print("{}\n", printable_json(*answer));
    rows.insert(rows.end(), page->rows.begin(), page->rows.end());
    if (!page->next) break;
    path = "/v1/invites?after=" + *page->next;
  }
  if (as_json_->count() == 0) print("{}", format_table(std::move(rows)));
  return {};
}

InviteRevokeCommand::InviteRevokeCommand(CLI::App& group)
    : Command(add_app(group, "revoke", "Revoke an invite: its agents are cut off at once",
                      "Examples:\n  culvert invite revoke AAECAwQFBgcICQoLDA0ODw")),
      settings_(app(), true) {
  id_ =
      app().add_option("id", CLI::callback_t(), "the invite's ID, as `culvert invite list` shows it", false);
  id_->type_name("ID")->required()->expected(1);
  access_.add_to(settings_);
}

Result<> InviteRevokeCommand::resolve(const Environment& environment) {
  auto resolved = settings_.resolve(environment);
  if (!resolved) return resolved;
  auto bytes = from_base64url(id_->results().front());
  if (!bytes || bytes->size() != 16) {
    return fail(ErrorCode::kInvalid,
                "ID: is no invite's; copy it from `culvert invite list` (22 characters)");
  }
  return access_.find(settings_, environment);
}

Result<> InviteRevokeCommand::run() {
  auto answer = access_.call("DELETE", "/v1/invites/" + id_->results().front(), "");
  if (!answer) return std::unexpected(answer.error());
  print("revoked {}\n", id_->results().front());
  return {};
}

std::vector<std::unique_ptr<Command>> make_invite_commands(CLI::App& parent) {
  CLI::App* group =
      parent.add_subcommand("invite", "Make, list and revoke the invites that agents connect with");
  group->require_subcommand(1);
  group->footer(
      "Examples:\n"
      "  culvert invite create --name laptop --hostnames 'app.example.com,*.dev.example.com'\n"
      "  culvert invite list\n"
      "  culvert invite revoke ID");
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<InviteCreateCommand>(*group));
  commands.push_back(std::make_unique<InviteListCommand>(*group));
  commands.push_back(std::make_unique<InviteRevokeCommand>(*group));
  return commands;
}

}  // namespace culvert::cli
