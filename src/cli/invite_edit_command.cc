#include "cli/invite_edit_command.h"

#include <boost/json/serialize.hpp>

#include "cli/named_command.h"
#include "cli/output.h"
#include "cli/values.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

CommandInfo edit_info() {
  return {.name = "invite edit",
          .summary = "Change an invite; its agents follow at once",
          .examples =
              "  culvert invite edit laptop --add-hostnames new.example.com\n"
              "  culvert invite edit laptop --remove-hostnames '*.dev.example.com' --expires 30d\n"
              "  culvert invite edit laptop --max-bandwidth 10M --max-new-connections 50\n",
          .positional = invite_word()};
}

json::array as_json(const std::vector<route::HostPattern>& patterns) {
  json::array out;
  for (const route::HostPattern& pattern : patterns) out.push_back(json::string(pattern.text()));
  return out;
}

}  // namespace

Result<> InviteEditCommand::Hostnames::add(std::string_view more) {
  // All together: they are checked against each other.
  text.append(text.empty() ? "" : ",").append(more);
  auto parsed = route::parse_host_patterns(text);
  if (!parsed) return std::unexpected(parsed.error());
  patterns = std::move(*parsed);
  return {};
}

InviteEditCommand::InviteEditCommand() : OperatorCommand(edit_info()) {
  SettingsBuilder builder = settings_.builder();
  builder.section("invite-edit");
  builder.add({.name = "name",
               .help = "its new name",
               .value_name = "NAME",
               .default_text = "as it is",
               .default_is_words = true,
               .example = "laptop",
               .apply = [this](std::string_view text) -> Result<> {
                 name_ = text;
                 return {};
               }});
  const auto add_hostnames = [&](const char* name, const char* help, Hostnames& to) {
    builder.add({.name = name,
                 .help = help,
                 .value_name = "NAME,...",
                 .example = "*.dev.example.com",
                 .form = SettingForm::kList,
                 .apply = [&to](std::string_view text) { return to.add(text); }});
  };
  add_hostnames("hostnames", "the hostnames that it grants from now on, instead of all others", hostnames_);
  add_hostnames("add-hostnames", "hostnames that it grants besides", added_);
  add_hostnames("remove-hostnames", "hostnames that it grants no more", removed_);
  builder.add({.name = "expires",
               .help = "how long it lasts from now: 30d, 48h, ..., or never",
               .value_name = "TIME",
               .default_text = "as it is",
               .default_is_words = true,
               .example = "30d",
               .apply = [this](std::string_view text) -> Result<> {
                 auto parsed = parse_expiry(text);
                 if (!parsed) return std::unexpected(parsed.error());
                 expires_in_ = *parsed;
                 return {};
               }});
  terms_.describe(builder, "as it is");
  describe(builder, output_);
  access_.describe(builder);
}

Result<> InviteEditCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  word_ = arguments.positional;
  if (request_json() == "{}") {
    return fail(
        ErrorCode::kInvalid,
        "nothing is to be changed; give --name, --add-hostnames, --remove-hostnames, --hostnames, "
        "--expires, --ports, --allow-custom-domains or one of --max-hostnames, --max-tcp-ports, "
        "--max-udp-ports, --max-agents, --max-connections, --max-new-connections, --max-bandwidth and "
        "--max-udp-flows");
  }
  if (!hostnames_.patterns.empty() && !(added_.patterns.empty() && removed_.patterns.empty())) {
    return fail(ErrorCode::kInvalid,
                "--hostnames: replaces all of them; leave out --add-hostnames and --remove-hostnames");
  }
  return access_.find(settings_, environment);
}

std::string InviteEditCommand::request_json() const {
  json::object body;
  if (name_) body["name"] = *name_;
  if (!hostnames_.patterns.empty()) body["hostnames"] = as_json(hostnames_.patterns);
  if (!added_.patterns.empty()) body["add_hostnames"] = as_json(added_.patterns);
  if (!removed_.patterns.empty()) body["remove_hostnames"] = as_json(removed_.patterns);
  if (expires_in_) {
    body["expires_in_secs"] = *expires_in_ ? json::value((*expires_in_)->count()) : json::value(nullptr);
  }
  terms_.add_to(body);
  return json::serialize(body);
}

Result<> InviteEditCommand::run() {
  auto id = find_invite(word_, [this](std::string path) { return access_.call("GET", std::move(path), ""); });
  if (!id) return std::unexpected(id.error());
  auto answer = access_.call("PATCH", "/v1/invites/" + *id, request_json());
  if (!answer) return std::unexpected(answer.error());
  auto text = format_object(*answer, invite_columns(), output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

}  // namespace culvert::cli
