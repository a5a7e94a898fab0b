#include "base/machine_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace culvert {
namespace {

namespace fs = std::filesystem;

// The first number in the text; nullopt for "max" and for what cannot be read.
std::optional<uint64_t> first_number(std::string_view text) {
  const size_t start = text.find_first_of("0123456789");
  if (start == std::string_view::npos) return std::nullopt;
  uint64_t value = 0;
  const auto parsed = std::from_chars(text.data() + start, text.data() + text.size(), value);
  return parsed.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<uint64_t> number_in(const fs::path& file) {
  std::ifstream input(file);
  std::string line;
  return std::getline(input, line) ? first_number(line) : std::nullopt;
}

std::optional<uint64_t> total_memory(const fs::path& root) {
  std::ifstream input(root / "proc/meminfo");
  for (std::string line; std::getline(input, line);) {
    if (!line.starts_with("MemTotal:")) continue;
    const auto kib = first_number(line);
    return kib ? std::optional(*kib * 1024) : std::nullopt;
  }
  return std::nullopt;
}

void lower(std::optional<uint64_t>& limit, std::optional<uint64_t> other) {
  if (other && (!limit || *other < *limit)) limit = other;
}

// The limits of a group and of those that it is in. Inside a container the path may name groups that are not
// visible there: the group that is the container's own is then at `mount`.
void lower_by_groups(std::optional<uint64_t>& limit, const fs::path& mount, std::string_view group,
                     std::initializer_list<const char*> files) {
  fs::path path = fs::path(group).relative_path();
  while (true) {
    for (const char* file : files) lower(limit, number_in(mount / path / file));
    if (path.empty()) return;
    path = path.parent_path();
  }
}

bool lists_memory(std::string_view controllers) {
  while (!controllers.empty()) {
    const size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "memory") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

uint64_t machine_memory_under(const fs::path& root, uint64_t address_space) {
  std::optional<uint64_t> limit = total_memory(root);
  const fs::path mount = root / "sys/fs/cgroup";
  // cgroups(7): hierarchy:controllers:path. Version 2 is hierarchy 0 and names no controllers.
  std::ifstream input(root / "proc/self/cgroup");
  for (std::string line; std::getline(input, line);) {
    const std::string_view text = line;
    const size_t first = text.find(':');
    const size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = text.substr(first + 1, second - first - 1);
    const std::string_view group = text.substr(second + 1);
    if (text.starts_with("0:") && controllers.empty()) {
      // Above memory.high the kernel slows a group down until it stays below.
      lower_by_groups(limit, mount, group, {"memory.max", "memory.high"});
    } else if (lists_memory(controllers)) {
      lower_by_groups(limit, mount / "memory", group, {"memory.limit_in_bytes"});
    }
  }
  return std::min(limit.value_or(0), address_space);
}

uint64_t machine_memory() {
  rlimit limit{};
  const bool is_limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  const uint64_t address_space = is_limited ? limit.rlim_cur : UINT64_MAX;
  const uint64_t memory = machine_memory_under("/", address_space);
  if (memory > 0) return memory;
  return std::min(address_space, static_cast<uint64_t>(std::max(sysconf(_SC_PHYS_PAGES), 1L)) *
                                     static_cast<uint64_t>(std::max(sysconf(_SC_PAGESIZE), 1L)));
}

// proc_pid_statm(5): sizes in pages, the whole first.
uint64_t memory_in_use() {
  std::ifstream input("/proc/self/statm");
  uint64_t whole = 0, resident = 0;
  if (!(input >> whole >> resident)) return 0;
  return resident * static_cast<uint64_t>(std::max(sysconf(_SC_PAGESIZE), 1L));
}

}  // namespace culvert
