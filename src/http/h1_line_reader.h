#pragma once
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "http/h1_lines.h"

namespace culvert::http {

// Takes lines, without their ends, off the front of bytes that arrive in any pieces. A line that is there as
// a whole is not copied.
class H1LineReader {
 public:
  static constexpr size_t kMaxObserved =
      8 * 1024;  // of a longer one an observer keeps this and its last bytes

  enum class Outcome {
    kMore,       // all input was taken and the line is not complete
    kLine,       // line()
    kTooLong,    // strict rules only, as below
    kMalformed,  // fault(), the rest of a sentence
  };

  explicit H1LineReader(H1Rules rules) : rules_(rules) {}

  // `room`: what the line, or its rest, may take with its end under strict rules.
  Outcome take(ByteView& input, size_t room);

  // Valid until the next call.
  std::string_view line() const { return line_; }
  // The last bytes of a line that was cut; empty where line() has all.
  std::string_view cut_end() const { return end_; }
  const char* fault() const { return fault_; }
  // Of an incomplete line.
  size_t buffered() const { return begun_.size() + end_.size(); }
  void clear();  // and wipes: a line may be an Authorization

 private:
  // `piece` continues the line. Refuses early what can never become one.
  bool check(std::string_view piece, bool is_complete);
  void keep(std::string_view piece);

  H1Rules rules_;
  bool is_done_ = false;  // the line in begun_ was told
  std::string begun_;
  std::string end_;
  std::string_view line_;
  const char* fault_ = "";
};

}  // namespace culvert::http
