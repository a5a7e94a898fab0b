#include <array>

#include "quic/core.h"
#include "quic/protocol.h"

namespace culvert::quic {

Result<X509Identity> X509Identity::from_der(const std::vector<Bytes>& chain, ByteView key) {
  if (chain.empty()) return fail(ErrorCode::kInvalid, "there is no certificate");
  std::vector<core::Slice> slices;
  for (const Bytes& certificate : chain) slices.push_back({certificate.data(), certificate.size()});
  const core::X509Identity* identity =
      core::cq_x509_new(slices.data(), slices.size(), {key.data(), key.size()});
  if (identity == nullptr) {
    std::array<char, 256> text;
    const size_t size = core::cq_last_panic(reinterpret_cast<uint8_t*>(text.data()), text.size());
    return fail(ErrorCode::kInvalid, "the certificate cannot be used with its key: {}",
                std::string_view(text.data(), size));
  }
  return X509Identity(std::shared_ptr<const core::X509Identity>(identity, core::cq_x509_free));
}

}  // namespace culvert::quic
