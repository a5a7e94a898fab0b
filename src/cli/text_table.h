#pragma once
#include <string>
#include <vector>

namespace culvert::cli {

// Rows of cells as columns, two blanks apart, each line ending in a line feed. The first row is the heading.
// Cells may hold text of others: it is shown as printable() makes it.
std::string format_table(std::vector<std::vector<std::string>> rows);

}  // namespace culvert::cli
