#pragma once
#include <cstddef>
#include <optional>

namespace culvert {

// The columns of the terminal that a descriptor leads to; nothing when it leads elsewhere. A terminal that
// does not know its size has 80.
std::optional<size_t> terminal_width(int descriptor);

}  // namespace culvert
