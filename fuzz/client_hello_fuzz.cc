#include <algorithm>

#include "base/check.h"
#include "wire/client_hello.h"

using culvert::ByteView;
using culvert::wire::ClientHelloReader;

namespace {

void check_name(const std::string& name) {
  CHECK(!name.empty() && name.size() <= 253);
  CHECK(name.front() != '.' && name.back() != '.');
  CHECK(std::ranges::all_of(
      name, [](char c) { return c > ' ' && c < 0x7f && !(c >= 'A' && c <= 'Z') && c != '*'; }));
}

}  // namespace

// How the bytes are cut must not change what is read from them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = 1 + data[0] % 64;
  const ByteView input(data + 1, size - 1);

  ClientHelloReader whole;
  whole.feed(input);
  ClientHelloReader pieces;
  for (ByteView rest = input; !rest.empty(); rest = rest.subspan(std::min(step, rest.size()))) {
    pieces.feed(rest.first(std::min(step, rest.size())));
  }
  CHECK(whole.state() == pieces.state());
  CHECK(whole.error() == pieces.error());
  CHECK(whole.hello().server_name == pieces.hello().server_name);
  CHECK(whole.received() == pieces.received());
  CHECK(std::ranges::equal(whole.received(), input));

  switch (whole.state()) {
    case ClientHelloReader::State::kNeedMore:
      CHECK(input.size() < ClientHelloReader::kMaxBytes);
      break;
    case ClientHelloReader::State::kDone:
      CHECK(whole.error().empty());
      if (whole.hello().server_name) check_name(*whole.hello().server_name);
      break;
    case ClientHelloReader::State::kNotTls:
    case ClientHelloReader::State::kTooLong:
      CHECK(!whole.error().empty());
      CHECK(!whole.hello().server_name);
      break;
  }
  return 0;
}
