#include "cli/confirmation.h"

#include <iostream>
#include <string>

#include "base/ascii.h"
#include "base/passphrase_prompt.h"
#include "cli/output.h"

namespace culvert::cli {

bool can_ask() {
  constexpr int kStandardInput = 0;
  return PassphrasePrompt::is_terminal(kStandardInput);
}

bool confirm(std::string_view question) {
  print("{} [y/N] ", question);
  standard_output().drain(kOutputPatience);
  std::string line;
  std::getline(std::cin, line);
  const std::string_view answer = trim(line);
  return equals_lower(answer, "y") || equals_lower(answer, "yes");
}

}  // namespace culvert::cli
