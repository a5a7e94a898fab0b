#pragma once
#include <span>

namespace culvert::hub {

// What makes version N of the schema of version N - 1, N counted from 1. Migrations only add: hubs of the
// version before go on while others start with the new one.
std::span<const std::span<const char* const>> postgres_migrations();

}  // namespace culvert::hub
