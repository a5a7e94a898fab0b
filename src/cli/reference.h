#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/command.h"

// Those parts of docs/configuration.md and docs/metrics.md that follow from declarations in the code.
namespace culvert::cli {

// The document, in which every part from a line `<!-- settings of COMMAND -->`, `<!-- example of COMMAND -->`
// or `<!-- metrics of COMMAND -->`, or the line `<!-- exit statuses -->`, to the next `<!-- end -->` is
// generated again. kInvalid: an unknown command, or a part without an end.
Result<std::string> fill_document(std::string_view document,
                                  const std::vector<std::unique_ptr<Command>>& commands);

// The settings of all commands, or of one, as docs/configuration.md has them: tables and example files.
std::string settings_reference(const std::vector<std::unique_ptr<Command>>& commands,
                               std::string_view only = {});

// The setting with its example as a file has it: `workers = 4`.
std::string example_line(const Setting& setting);

}  // namespace culvert::cli
