#include "base/check.h"
#include "dns/authority.h"
#include "dns/stream_framing.h"

using namespace culvert;
using Transport = dns::Authority::Transport;

namespace {

dns::Name name(std::string_view text) { return dns::Name::parse(text).value(); }

dns::Authority& authority() {
  static dns::Authority made;
  if (made.find(name("example")) != nullptr) return made;
  CHECK(made.add(dns::Zone::make(
                     {.apex = name("example"),
                      .name_servers = {name("ns.example")},
                      .contact = name("hostmaster.example"),
                      .records = {{.name = name("ns.example"), .ttl = 5, .data = dns::A{{192, 0, 2, 1}}},
                                  {.name = name("*.c.example"), .ttl = 5, .data = dns::A{{192, 0, 2, 2}}}}})
                     .value())
            .has_value());
  for (char c = 'a'; c < 'a' + 16; ++c)
    CHECK(made.find(name("example"))->put(name("a.b.example"), std::string(200, c)).has_value());
  return made;
}

// A response is well formed, for this query, and no larger than what was allowed.
void check_answer(ByteView query, Transport transport) {
  const auto answer = authority().answer(query, transport);
  const auto header = dns::decode_header(query);
  CHECK(answer.has_value() == (header && !header->is_response));
  if (!answer) return;
  const auto message = dns::decode(*answer);
  CHECK(message && message->header.is_response && message->header.id == header->id);
  if (transport == Transport::kTcp) return;
  const auto asked = dns::decode(query);
  CHECK(answer->size() <= (asked && asked->edns ? dns::kMaxUdpSize : dns::kMinUdpSize));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  check_answer(input, Transport::kUdp);
  check_answer(input, Transport::kTcp);
  if (const auto cut = dns::Authority::truncated(input)) CHECK(dns::decode(*cut)->header.is_truncated);

  dns::FrameReader all(4096), one_by_one(4096);
  all.feed(input);
  size_t from_all = 0, from_pieces = 0;
  for (auto next = all.next(); next && *next; next = all.next()) ++from_all;
  for (const uint8_t byte : input) {
    one_by_one.feed(ByteView(&byte, 1));
    const auto next = one_by_one.next();
    if (!next) break;
    if (*next) ++from_pieces;
  }
  CHECK(from_all == from_pieces);
  return 0;
}
