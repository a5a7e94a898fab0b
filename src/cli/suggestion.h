#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace culvert::cli {

// "; did you mean workers?" when one of the candidates is near enough, otherwise nothing.
std::string suggestion(std::string_view given, const std::vector<std::string>& candidates);

}  // namespace culvert::cli
