#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert::cli {

// A JSON text as a YAML 1.2 document, with its last line feed. Texts that a reader could take for something
// else, or that hold what printable() escapes, are in double quotes. kInvalid: `what` is not JSON.
Result<std::string> json_to_yaml(std::string_view what, std::string_view json);

}  // namespace culvert::cli
