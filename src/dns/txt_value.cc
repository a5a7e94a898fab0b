#include "dns/txt_value.h"

namespace culvert::dns {

Result<> check_txt_value(const Name& name, std::string_view value) {
  if (value.empty() || value.size() > kMaxTxtValue) {
    return fail(ErrorCode::kInvalid, "a TXT value of {} bytes for {} (expected 1 to {})", value.size(),
                name.to_string(), kMaxTxtValue);
  }
  if (value.find('\0') != value.npos)
    return fail(ErrorCode::kInvalid, "a TXT value with a zero byte for {}", name.to_string());
  return {};
}

}  // namespace culvert::dns
