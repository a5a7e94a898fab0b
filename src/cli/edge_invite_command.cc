#include "cli/edge_invite_command.h"

#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/output.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

CommandInfo create_info() {
  return {.name = "edge-invite create",
          .summary = "Create the token of an edge on another host and print it",
          .examples =
              "  culvert edge-invite create --name paris --region eu-west\n"
              "  (umask 077; culvert edge-invite create --name paris > edge-token)\n"
              "  culvert edge-invite create --name paris -o json\n"};
}

Setting text_setting(std::string name, std::string help, std::string example, std::string variable,
                     std::string& value) {
  return {.name = std::move(name),
          .help = std::move(help),
          .value_name = "NAME",
          .example = std::move(example),
          .variable = std::move(variable),
          .apply = [&value](std::string_view text) -> Result<> {
            value = text;
            return {};
          }};
}

}  // namespace

EdgeInviteCreateCommand::EdgeInviteCreateCommand() : OperatorCommand(create_info()) {
  SettingsBuilder builder = settings_.builder();
  builder.section("edge-invite");
  Setting name = text_setting("name", "the name of the edge in lists", "paris", "CULVERT_EDGE_NAME", name_);
  name.default_text = "two random words";
  name.default_is_words = true;
  builder.add(std::move(name));
  builder.add(
      text_setting("region", "where the edge is, for people", "eu-west", "CULVERT_EDGE_REGION", region_));
  describe(builder, output_);
  access_.describe(builder);
}

Result<> EdgeInviteCreateCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  return access_.find(settings_, environment);
}

Result<> EdgeInviteCreateCommand::run() {
  json::object body;
  if (!name_.empty()) body["name"] = name_;
  if (!region_.empty()) body["region"] = region_;
  auto answer = access_.call("POST", "/v1/edges", json::serialize(body));
  if (!answer) return std::unexpected(answer.error());
  auto object = parse_json_object("the hub's answer", *answer);
  if (!object) return std::unexpected(object.error());
  JsonReader reader("the hub's answer", *object);
  const std::string_view token = reader.text("token");
  created_name_ = printable(reader.text("name"));
  const std::string_view id = reader.text("edge_id");
  if (reader.error()) return std::unexpected(*reader.error());
  if (output_.format != OutputFormat::kTable) {
    auto document = format_object(*answer, {}, output_);
    if (!document) return std::unexpected(document.error());
    print("{}", *document);
    return {};
  }
  print_message(
      "edge {} has the id {}; start it with this token in a file (--edge-token-file) or in "
      "CULVERT_EDGE_TOKEN, on a host that the "
      "public and the agents reach. The token is a secret, and is not shown again",
      created_name_, printable(id));
  standard_error().drain(kOutputPatience);  // on a terminal the token comes after this
  print("{}\n", printable(token));
  return {};
}

std::string EdgeInviteCreateCommand::when_output_is_lost() const {
  if (created_name_.empty()) return {};
  return fmt::format(
      "the edge {0} exists all the same, and its token is not shown again; run `culvert edge-invite revoke "
      "{0}` and "
      "create another one",
      created_name_);
}

}  // namespace culvert::cli
