#pragma once
#include <string>
#include <string_view>

namespace culvert::hub {

// A name that is a part of paths and of command lines: 1 to `max` letters, digits and what needs no quotes.
bool is_plain_name(std::string_view name, size_t max);
// "1 to 64 letters, digits, '-', '_' and '.' that do not begin with '-'"
std::string plain_name_rule(size_t max);

}  // namespace culvert::hub
