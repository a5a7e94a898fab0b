#pragma once
#include <fmt/format.h>

#include <expected>
#include <string>
#include <utility>

namespace culvert {

// What a caller can do about an error; one code per reaction, the message is for people.
enum class ErrorCode {
  kInvalid,       // the input is wrong: fix it, do not retry
  kNotFound,      // the named thing does not exist
  kConflict,      // another one has it
  kUnauthorized,  // who you are does not allow this
  kUnavailable,   // may work later: retry with backoff
  kTimeout,       // a deadline passed
  kLimit,         // a stated cap was reached
  kClosed,        // the peer or the owner ended it in an orderly way
  kReset,         // the peer ended it abruptly
  kIo,            // the operating system refused
};

// A stable lower-case name, for logs and metric labels.
const char* to_string(ErrorCode code);

struct Error {
  ErrorCode code;
  std::string message;  // names the thing, the reason and, where known, the next step
};

template <class T = void>
using Result = std::expected<T, Error>;

template <class... Args>
std::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

}  // namespace culvert
