#include "base/check.h"
#include "dns/message.h"

using namespace culvert;

// What was understood is written, and understood again as the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  CHECK(dns::decode_header(input).has_value() == (size >= dns::kHeaderSize));
  const auto message = dns::decode(input);
  if (!message) {
    CHECK(message.error().code == ErrorCode::kInvalid && !message.error().message.empty());
    CHECK(!dns::find_tsig(input));
    return 0;
  }
  CHECK(dns::find_tsig(input).has_value() == message->tsig.has_value());
  for (const dns::Question& question : message->questions)
    CHECK(dns::Name::parse(question.name.to_string()) == question.name);

  const Bytes once = dns::encode(*message);
  CHECK(once.size() <= dns::kMaxMessageSize);
  const auto again = dns::decode(once);
  CHECK(again.has_value());
  // A message whose names do not fit without the compression of its sender is cut.
  if (again->header.is_truncated == message->header.is_truncated &&
      again->additional.size() == message->additional.size())
    CHECK(*again == *message && dns::encode(*again) == once);

  const auto cut = dns::decode(dns::encode(*message, dns::kMaxMessageSize / 2));
  CHECK(cut.has_value() && cut->header.id == message->header.id);
  return 0;
}
