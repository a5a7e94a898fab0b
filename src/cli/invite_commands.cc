#include "cli/invite_commands.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/output.h"
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
          .switches = {json_switch()}};
}

const std::vector<Column>& created_columns() {
  static const std::vector<Column> columns = {
      {"invite", "invite_id"},
      {"name", "name"},
      {"tenant", "tenant_id"},
      {"hostnames", "hostnames", Show::kList},
      {"expires", "expires_at", Show::kTime, "never"},
  };
  return columns;
}

// Ready to be shown, like everything that comes from the hub.
std::string text_member(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  const json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string() : printable({text->data(), text->size()});
}

}  // namespace

Result<CreatedInvite> read_created_invite(std::string_view answer_json) {
  auto facts = format_facts(answer_json, created_columns());
  if (!facts) return std::unexpected(facts.error());
  auto answer = parse_json_object("the hub's answer", answer_json);
  if (!answer) return std::unexpected(answer.error());
  CreatedInvite invite{.id = text_member(*answer, "invite_id"),
                       .facts = std::move(*facts),
                       .token = text_member(*answer, "token")};
  if (invite.token.empty())
    return fail(ErrorCode::kInvalid, "hub: its answer holds no token. Is it a Culvert hub of this version?");
  invite.facts += "\nThe token is a secret: its holder can serve these hostnames. It is not shown again.\n";
  return invite;
}

ListCommandInfo invite_list_info() {
  return {.command = {.name = "invite list",
                      .summary = "List the hub's invites",
                      .examples = "  culvert invite list\n  culvert invite list -o json\n",
                      .switches = {json_switch()}},
          .path = "/v1/invites",
          .listing = {.member = "invites",
                      .columns = {{"ID", "invite_id"},
                                  {"NAME", "name"},
                                  {"STATUS", "status", Show::kStatus},
                                  {"EXPIRES", "expires_at", Show::kTime, "never"},
                                  {"CREATED", "created_at", Show::kTime},
                                  {"HOSTNAMES", "hostnames", Show::kList}}}};
}

InviteCreateCommand::InviteCreateCommand() : OperatorCommand(create_info()) {
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
       .details = "Required. Without --allow-overlap no other invite may have a hostname that they cover, "
                  "and none may have the hub's own name.",
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
  terms_.describe(builder, "as the hub's default");
  describe(builder, output_);
  access_.describe(builder);
}

Result<> InviteCreateCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
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
  terms_.add_to(body);
  return json::serialize(body);
}

Result<> InviteCreateCommand::run() {
  auto answer = access_.call("POST", "/v1/invites", request_json());
  if (!answer) return std::unexpected(answer.error());
  auto invite = read_created_invite(*answer);
  if (!invite) return std::unexpected(invite.error());
  created_id_ = invite->id;
  if (output_.format != OutputFormat::kTable) {
    auto document = format_object(*answer, created_columns(), output_);
    if (!document) return std::unexpected(document.error());
    print("{}", *document);
    return {};
  }
  standard_error().write(invite->facts);
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

std::vector<std::unique_ptr<Command>> make_invite_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<InviteCreateCommand>());
  commands.push_back(std::make_unique<ListCommand>(invite_list_info()));
  return commands;
}

}  // namespace culvert::cli
