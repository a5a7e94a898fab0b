#pragma once
#include <ngtcp2/ngtcp2.h>

namespace culvert::quic {

// ngtcp2's callbacks, each leading to the Connection given as user data. No exception leaves them.
ngtcp2_callbacks make_callbacks();

}  // namespace culvert::quic
