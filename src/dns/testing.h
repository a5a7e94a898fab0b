#pragma once
#include "dns/message.h"

// For tests: names and records as zone files have them.
namespace culvert::dns::testing {

inline Name name(std::string_view text) { return Name::parse(text).value(); }

inline Message query(std::string_view text, Type type, uint16_t id = 0x1234) {
  return {.header = {.id = id}, .questions = {{name(text), type}}};
}

inline Record txt(std::string_view owner, std::string value, uint32_t ttl = 5) {
  return {.name = name(owner), .type = Type::kTxt, .ttl = ttl, .data = Txt{{std::move(value)}}};
}

inline Record address(std::string_view owner, std::array<uint8_t, 4> ip, uint32_t ttl = 300) {
  return {.name = name(owner), .type = Type::kA, .ttl = ttl, .data = A{ip}};
}

}  // namespace culvert::dns::testing
