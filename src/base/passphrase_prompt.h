#pragma once
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace culvert {

// Asks for secrets on a terminal, without echo. What was typed before the first question is discarded. A
// signal that ends or stops the process finds the terminal as it was; a process that was stopped asks again.
// For short commands: takes over the handlers of these signals while it asks, and there may be one at a time.
class PassphrasePrompt {
 public:
  static constexpr size_t kMaxLength = 1024;

  // A descriptor that leads to a terminal, read from and, where that is possible, written to.
  explicit PassphrasePrompt(int terminal) : terminal_(terminal) {}

  static bool is_terminal(int descriptor);

  // One line, without its end. kInvalid: it is empty, longer than kMaxLength, or the input has ended.
  Result<SecretString> ask(std::string_view question);

 private:
  struct Line;
  int read(std::string_view question, Line& line);
  void write(std::string_view text);

  const int terminal_;
  bool was_asked_ = false;
};

}  // namespace culvert
