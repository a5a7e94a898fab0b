#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace culvert::cli {

enum class Colour : uint8_t { kNone, kGreen, kRed };

struct Cell {
  std::string text;
  Colour colour = Colour::kNone;

  Cell(std::string cell_text, Colour cell_colour = Colour::kNone)
      : text(std::move(cell_text)), colour(cell_colour) {}
  Cell(const char* cell_text) : text(cell_text) {}
  bool operator==(const Cell&) const = default;
};
using Row = std::vector<Cell>;

// Rows of cells as columns, two blanks apart, each line ending in a line feed. The first row is the heading.
// Cells may hold text of others: it is shown as printable() makes it. Where `width` is set and lines are
// longer, the widest column is cut, cell by cell, with an ellipsis.
std::string format_table(std::vector<Row> rows, std::optional<size_t> width = std::nullopt);

}  // namespace culvert::cli
