#pragma once
#include <string_view>

namespace culvert::cli {

// Whether somebody can be asked: standard input is a terminal.
bool can_ask();
// Asks for a yes or a no on standard output. Everything but a yes, also the end of the input, is a no.
bool confirm(std::string_view question);

}  // namespace culvert::cli
