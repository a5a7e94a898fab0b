#pragma once
#include <string>

#include "base/random.h"

namespace culvert::hubapi {

// Two words, "quiet-heron": a name for people, where none was given. Not unique.
std::string pet_name(Random& random);

}  // namespace culvert::hubapi
