#pragma once

namespace culvert {

// The program's version; the same as project(VERSION) in CMakeLists.txt.
inline constexpr const char* kVersion = "0.1.0";

}  // namespace culvert
