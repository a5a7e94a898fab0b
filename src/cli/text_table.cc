#include "cli/text_table.h"

#include <algorithm>
#include <numeric>

#include "base/text.h"

namespace culvert::cli {
namespace {

constexpr size_t kGap = 2;  // columns between two columns

std::vector<size_t> make_printable_and_measure(std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      row[i].text = printable(row[i].text);
      widths[i] = std::max(widths[i], display_width(row[i].text));
    }
  }
  return widths;
}

// Takes columns from the widest one until the line fits. A cell narrower than this says nothing: then lines
// stay too long, and the terminal breaks them.
void narrow(std::vector<size_t>& widths, size_t width) {
  constexpr size_t kNarrowest = 4;
  if (widths.empty()) return;
  size_t total = std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1));
  while (total > width) {
    auto widest = std::ranges::max_element(widths);
    if (*widest <= kNarrowest) return;
    --*widest;
    --total;
  }
}

std::string coloured(const std::string& text, Colour colour) {
  switch (colour) {
    case Colour::kNone:
      return text;
    case Colour::kGreen:
      return "\x1b[32m" + text + "\x1b[m";
    case Colour::kRed:
      return "\x1b[31m" + text + "\x1b[m";
  }
  return text;
}

}  // namespace

std::string format_table(std::vector<Row> rows, std::optional<size_t> width) {
  std::vector<size_t> widths = make_printable_and_measure(rows);
  if (width) narrow(widths, *width);
  std::string out;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string text = cut_to_width(row[i].text, widths[i]);
      out += coloured(text, row[i].colour);
      bool is_last = i + 1 == row.size();
      if (!is_last) out.append(widths[i] - display_width(text) + kGap, ' ');
    }
    out += '\n';
  }
  return out;
}

}  // namespace culvert::cli
