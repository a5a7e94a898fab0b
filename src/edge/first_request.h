#pragma once
#include "base/bytes.h"

namespace culvert::edge {

// Whether these first bytes of a client may be given to a second agent when it is not known if the first one
// has them: the beginning of one HTTP/1.1 request with a safe method (RFC 9110, 9.2.1) and nothing after it.
bool may_be_repeated(ByteView first);

}  // namespace culvert::edge
