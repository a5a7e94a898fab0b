#include "hubapi/route_digest.h"

namespace culvert::hubapi {
namespace {

constexpr size_t kLaneSize = 2;

// Lanes are little-endian in bytes.
std::array<uint16_t, 1024> lanes_of(const Sha256& route) {
  std::array<uint16_t, 1024> lanes;
  std::array<uint8_t, lanes.size() * kLaneSize> bytes;
  shake128(route, bytes);
  for (size_t i = 0; i < lanes.size(); ++i)
    lanes[i] = static_cast<uint16_t>(bytes[kLaneSize * i] | bytes[kLaneSize * i + 1] << 8);
  return lanes;
}

}  // namespace

void RouteDigest::add(const Sha256& route) {
  const auto lanes = lanes_of(route);
  for (size_t i = 0; i < lanes.size(); ++i) lanes_[i] = static_cast<uint16_t>(lanes_[i] + lanes[i]);
}

void RouteDigest::remove(const Sha256& route) {
  const auto lanes = lanes_of(route);
  for (size_t i = 0; i < lanes.size(); ++i) lanes_[i] = static_cast<uint16_t>(lanes_[i] - lanes[i]);
}

Sha256 RouteDigest::value() const {
  std::array<uint8_t, sizeof lanes_> bytes;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    bytes[kLaneSize * i] = static_cast<uint8_t>(lanes_[i]);
    bytes[kLaneSize * i + 1] = static_cast<uint8_t>(lanes_[i] >> 8);
  }
  return sha256(bytes);
}

}  // namespace culvert::hubapi
