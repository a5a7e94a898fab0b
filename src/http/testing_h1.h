#pragma once
#include <algorithm>
#include <string>

#include "http/h1_codec.h"

namespace culvert::http::testing {

inline std::string text_of(const Headers& headers) {
  std::string out;
  for (const auto& [name, value] : headers)
    out.append(" [").append(name).append(": ").append(value).append("]");
  return out;
}

inline std::string text_of(H1Decoder::Event event, H1Decoder& decoder, H1Decoder::Role role) {
  using Event = H1Decoder::Event;
  switch (event) {
    case Event::kHead:
    case Event::kInterim: {
      if (role == H1Decoder::Role::kRequests) {
        const RequestHead& head = decoder.request();
        return head.method + " " + head.target + text_of(head.headers) +
               (head.keeps_alive() ? "" : " closes");
      }
      const ResponseHead& head = decoder.response();
      return fmt::format("{}{}{}{}", event == Event::kInterim ? "interim " : "", head.status,
                         text_of(head.headers), head.keeps_alive() ? "" : " closes");
    }
    case Event::kTrailers:
      return "trailers" + text_of(decoder.trailers());
    case Event::kEnd:
      return "end";
    case Event::kOpaque:
      return "opaque";
    case Event::kError:
      return std::string(to_string(decoder.error().code)) + " " + decoder.error().message;
    default:
      return "";
  }
}

// What a decoder makes of `bytes` that arrive `step` at a time and with which the connection ends: a line for
// each event, and one for all data of a message.
inline std::string transcript(H1Decoder::Role role, H1Rules rules, std::string_view method, ByteView bytes,
                              size_t step) {
  using Event = H1Decoder::Event;
  H1Decoder decoder(role, rules);
  decoder.answer_to(method);
  std::string out, data;
  const auto take = [&](Event event) {
    if (event == Event::kData) data += as_text(decoder.data());
    if (event == Event::kMore || event == Event::kData) return;
    if (!data.empty()) out += "<" + std::exchange(data, {}) + ">\n";
    out += text_of(event, decoder, role) + "\n";
  };
  Event event = Event::kMore;
  while (!bytes.empty() && event != Event::kError && event != Event::kOpaque) {
    ByteView piece = bytes.first(std::min(step, bytes.size()));
    bytes = bytes.subspan(piece.size());
    do {
      take(event = decoder.next(piece));
    } while (event != Event::kMore && event != Event::kError && event != Event::kOpaque);
  }
  if (event == Event::kMore) take(decoder.end_of_input());
  if (!data.empty()) out += "<" + data + ">\n";
  return out;
}

}  // namespace culvert::http::testing
