#pragma once
#include <string>
#include <vector>

namespace culvert::cli {

// Rows of cells as columns, two blanks apart, each line ending in a line feed. The first row is the heading.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace culvert::cli
