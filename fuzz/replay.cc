// Runs fuzz targets without libFuzzer, for `make test`: every seed of the corpus, each of its beginnings, and
// copies with some bytes changed, always the same ones. Finds what was found before, and nothing deep.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fuzz_targets.h"  // kTargets: names and functions, made by CMake

namespace {

constexpr size_t kMostBeginnings = 200;
constexpr int kCopies = 200;

using Input = std::vector<uint8_t>;

// A copy of its own size on the heap, so that AddressSanitizer sees a read behind it.
void run(const Target& target, const Input& input) {
  const auto exact = std::make_unique<uint8_t[]>(input.size());
  std::ranges::copy(input, exact.get());
  target.run(exact.get(), input.size());
}

size_t replay(const Target& target, const Input& seed) {
  run(target, seed);
  const size_t step = std::max<size_t>(1, seed.size() / kMostBeginnings);
  size_t count = 1;
  for (size_t size = 0; size < seed.size(); size += step, ++count)
    run(target, Input(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(size)));
  std::mt19937 random(1);
  for (int i = 0; i < kCopies && !seed.empty(); ++i, ++count) {
    Input changed = seed;
    for (auto changes = 1 + random() % 4; changes > 0; --changes)
      changed[random() % changed.size()] = static_cast<uint8_t>(random());
    run(target, changed);
  }
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: fuzz_replay TARGET CORPUS_DIRECTORY\n", stderr);
    return 2;
  }
  const auto* target = std::ranges::find(kTargets, std::string_view(argv[1]), &Target::name);
  if (target == std::end(kTargets)) {
    std::fprintf(stderr, "fuzz_replay: unknown target %s\n", argv[1]);
    return 2;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[2])) files.push_back(entry.path());
  std::ranges::sort(files);
  size_t count = 0;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    count += replay(*target, Input(std::istreambuf_iterator<char>(stream), {}));
  }
  std::printf("%s: %zu inputs from %zu seeds\n", argv[1], count, files.size());
  return files.empty() ? 1 : 0;
}
