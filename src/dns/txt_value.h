#pragma once
#include <string_view>

#include "dns/name.h"

namespace culvert::dns {

inline constexpr size_t kMaxTxtValue = 255;  // one string of a TXT record (RFC 1035, 3.3)

// kInvalid: the value is empty or longer than that, or has a zero byte, which no program takes.
Result<> check_txt_value(const Name& name, std::string_view value);

}  // namespace culvert::dns
