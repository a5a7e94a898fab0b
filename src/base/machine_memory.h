#pragma once
#include <cstdint>
#include <filesystem>

namespace culvert {

// Bytes of memory that this process may use at most: the machine's, or less where a control group (version 1
// or 2, also one further up) or a limit of the address space (RLIMIT_AS) says so. Read again at each call.
uint64_t machine_memory();

// The same of a system whose /proc and /sys are under `root`, for a process with `address_space` bytes of it.
// 0: nothing could be read.
uint64_t machine_memory_under(const std::filesystem::path& root, uint64_t address_space = UINT64_MAX);

// Bytes of memory that this process has resident now. 0: nothing could be read.
uint64_t memory_in_use();

}  // namespace culvert
