#pragma once
#include <cstddef>
#include <memory>
#include <string>

#include "net/byte_stream.h"

namespace culvert::net {

// What fits the kernel's sockaddr_un with its end (unix(7)).
constexpr size_t kMaxUnixPath = 107;

// Connects to the stream socket that listens at `path`, or at "@name" in the abstract namespace. Waits until
// a full queue of connections there has room. Errors: kInvalid (too long, empty), kNotFound (no such file),
// kUnauthorized, kUnavailable (no program listens, another kind of socket), kTimeout; the message names the
// path, the reason and what to look at.
Task<Result<std::unique_ptr<ByteStream>>> unix_connect(EventLoop& loop, std::string path, TimePoint deadline);

}  // namespace culvert::net
