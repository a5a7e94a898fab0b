#include "cli/edge_edit_command.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "cli/named_command.h"
#include "cli/output.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr const char* kNoRegion = "no-region";

CommandInfo edit_info() {
  return {.name = "edge edit",
          .summary = "Change the name or the region of an edge; its token stays valid",
          .examples =
              "  culvert edge edit paris --name paris-1 --region eu-west\n"
              "  culvert edge edit paris-1 --no-region\n",
          .positional = edge_word(),
          .switches = {{.flag = kNoRegion, .help = "the edge has no region from now on"}}};
}

}  // namespace

EdgeEditCommand::EdgeEditCommand() : OperatorCommand(edit_info()) {
  SettingsBuilder builder = settings_.builder();
  builder.section("edge-edit");
  const auto add = [&](const char* name, const char* help, const char* example, const char* variable,
                       std::optional<std::string>& value) {
    builder.add({.name = name,
                 .help = help,
                 .value_name = "NAME",
                 .default_text = "as it is",
                 .default_is_words = true,
                 .example = example,
                 .variable = variable,
                 .apply = [&value](std::string_view text) -> Result<> {
                   value = text;
                   return {};
                 }});
  };
  add("name", "its new name in lists", "paris-1", "CULVERT_EDGE_NAME", name_);
  add("region", "where the edge is, for people", "eu-west", "CULVERT_EDGE_REGION", region_);
  describe(builder, output_);
  access_.describe(builder);
}

Result<> EdgeEditCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  word_ = arguments.positional;
  if (arguments.has_switch(kNoRegion)) {
    if (region_)
      return fail(ErrorCode::kInvalid, "{} and --no-region: contradict each other; keep one of them",
                  settings_.source("region"));
    region_ = "";
  }
  if (!name_ && !region_)
    return fail(ErrorCode::kInvalid, "nothing is to be changed; give --name, --region or --no-region");
  return access_.find(settings_, environment);
}

std::string EdgeEditCommand::request_json() const {
  json::object body;
  if (name_) body["name"] = *name_;
  if (region_) body["region"] = *region_;
  return json::serialize(body);
}

Result<> EdgeEditCommand::run() {
  auto answer = access_.call("PATCH", "/v1/edges/" + to_percent(word_), request_json());
  if (!answer) return std::unexpected(answer.error());
  static const std::vector<Column> columns = {{"edge", "edge_id"},  {"name", "name"},
                                              {"region", "region"}, {"state", "state"},
                                              {"agents", "agents"}, {"created", "created_at", Show::kTime}};
  auto text = format_object(*answer, columns, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

}  // namespace culvert::cli
