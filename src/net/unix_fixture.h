#pragma once
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "base/descriptor.h"

namespace culvert::net::testing {

// A program that listens on a unix socket and accepts when it is told to.
class UnixServer {
 public:
  explicit UnixServer(const std::string& path, int type = SOCK_STREAM, int backlog = 8) {
    socket_.reset(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    size_t size = offsetof(sockaddr_un, sun_path) + path.size();
    if (path.front() == '@') {
      address.sun_path[0] = '\0';
    } else {
      ++size;
    }
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(size)), 0);
    if (type == SOCK_STREAM) EXPECT_EQ(::listen(socket_.get(), backlog), 0);
  }
  Descriptor accept() { return Descriptor(::accept(socket_.get(), nullptr, nullptr)); }
  void close() { socket_.reset(); }

 private:
  Descriptor socket_;
};

}  // namespace culvert::net::testing
