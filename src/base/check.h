#pragma once

namespace culvert {

// Prints the place and the broken promise, then aborts. For bugs, never for input.
[[noreturn]] void check_failed(const char* file, int line, const char* what);

}  // namespace culvert

#define CHECK(condition) \
  (static_cast<bool>(condition) ? void() : ::culvert::check_failed(__FILE__, __LINE__, #condition))
