#include <cstdlib>

#include "http/testing_h1.h"

using namespace culvert;

// The first byte chooses the role, the rules and the method that is answered; the rest is what a peer sends.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr const char* kMethods[] = {"GET", "HEAD", "CONNECT", "GET"};
  const auto role = data[0] & 1 ? http::H1Decoder::Role::kResponses : http::H1Decoder::Role::kRequests;
  const auto rules = data[0] & 2 ? http::H1Rules::kObserver : http::H1Rules::kStrict;
  const char* method = kMethods[data[0] >> 2 & 3];
  const ByteView bytes(data + 1, size - 1);
  // How the bytes are cut must never change what is understood.
  const std::string whole = http::testing::transcript(role, rules, method, bytes, size);
  if (whole != http::testing::transcript(role, rules, method, bytes, 1)) std::abort();
  if (whole != http::testing::transcript(role, rules, method, bytes, 3)) std::abort();
  return 0;
}
