#include "cli/operator_key_command.h"

#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/output.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

CommandInfo create_info() {
  return {
      .name = "operator key create",
      .summary = "Create an operator key and print it",
      .examples =
          "  culvert operator key create grafana --role read-only\n"
          "  (umask 077; culvert operator key create deploy > deploy.key)\n",
      .positional = Positional{.name = "NAME", .help = "what it is called in lists and in the audit log"}};
}

}  // namespace

OperatorKeyCreateCommand::OperatorKeyCreateCommand() : OperatorCommand(create_info()) {
  SettingsBuilder builder = settings_.builder();
  builder.section("operator-key");
  builder.add({.name = "role",
               .help = "admin, or read-only: a key that may only look",
               .value_name = "ROLE",
               .default_text = role_,
               .example = "read-only",
               .choices = {"admin", "read-only"},
               .variable = "CULVERT_OPERATOR_KEY_ROLE",
               .apply = [this](std::string_view text) -> Result<> {
                 if (text != "admin" && text != "read-only")
                   return fail(ErrorCode::kInvalid, "{} is no role (expected admin or read-only)",
                               quoted(text));
                 role_ = text;
                 return {};
               }});
  describe(builder, output_);
  access_.describe(builder);
}

Result<> OperatorKeyCreateCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  name_ = arguments.positional;
  return access_.find(settings_, environment);
}

Result<> OperatorKeyCreateCommand::run() {
  auto answer = access_.call("POST", "/v1/operator-keys",
                             json::serialize(json::object{{"name", name_}, {"role", role_}}));
  if (!answer) return std::unexpected(answer.error());
  is_created_ = true;
  auto object = parse_json_object("the hub's answer", *answer);
  if (!object) return std::unexpected(object.error());
  JsonReader reader("the hub's answer", *object);
  const std::string_view key = reader.text("key");
  if (reader.error()) return std::unexpected(*reader.error());
  if (output_.format != OutputFormat::kTable) {
    auto document = format_object(*answer, {}, output_);
    if (!document) return std::unexpected(document.error());
    print("{}", *document);
    return {};
  }
  print_message("the operator key {} ({}) is a secret, and is not shown again", printable(name_), role_);
  standard_error().drain(kOutputPatience);  // on a terminal the key comes after this
  print("{}\n", printable(key));
  return {};
}

std::string OperatorKeyCreateCommand::when_output_is_lost() const {
  if (!is_created_) return {};
  return fmt::format(
      "the operator key {0} exists all the same, and is not shown again; run `culvert operator key revoke "
      "{0}` and "
      "create another one",
      printable(name_));
}

}  // namespace culvert::cli
