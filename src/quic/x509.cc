#include <array>

#include "quic/config.h"
#include "quic/core.h"

namespace culvert::quic {

Result<X509Identity> X509Identity::from_der(std::vector<Bytes> chain, Bytes key) {
  if (chain.empty()) return fail(ErrorCode::kInvalid, "there is no certificate");
  std::vector<core::Slice> slices;
  for (const Bytes& certificate : chain) slices.push_back({certificate.data(), certificate.size()});
  if (!core::cq_x509_check(slices.data(), slices.size(), {key.data(), key.size()})) {
    std::array<char, 256> text;
    const size_t size = core::cq_last_panic(reinterpret_cast<uint8_t*>(text.data()), text.size());
    return fail(ErrorCode::kInvalid, "the certificate cannot be used with its key: {}",
                std::string_view(text.data(), size));
  }
  return X509Identity(std::move(chain), std::move(key));
}

}  // namespace culvert::quic
