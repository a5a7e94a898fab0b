#include "hubapi/pet_name.h"

#include <array>
#include <string_view>

namespace culvert::hubapi {
namespace {

constexpr auto kAdjectives = std::to_array<std::string_view>(
    {"amber",  "brave", "bright",  "brisk",  "calm",   "clear",  "clever", "crisp", "early",  "fair",
     "fleet",  "fond",  "gentle",  "glad",   "golden", "grand",  "happy",  "hardy", "keen",   "kind",
     "late",   "light", "lively",  "lucky",  "mellow", "merry",  "mild",   "misty", "modest", "neat",
     "nimble", "noble", "patient", "plain",  "proud",  "quick",  "quiet",  "rapid", "ready",  "rosy",
     "rustic", "sandy", "sharp",   "shy",    "silent", "silver", "simple", "sleek", "small",  "smooth",
     "snowy",  "solid", "spry",    "steady", "still",  "sturdy", "sunny",  "swift", "tidy",   "tranquil",
     "vivid",  "warm",  "wild",    "wise"});

constexpr auto kAnimals = std::to_array<std::string_view>(
    {"badger",  "beaver",  "bison",   "bittern", "crane",  "cricket", "curlew",   "deer",
     "dipper",  "dolphin", "dove",    "eagle",   "egret",  "elk",     "falcon",   "ferret",
     "finch",   "fox",     "gecko",   "gull",    "hare",   "hawk",    "heron",    "ibis",
     "jackdaw", "jay",     "kestrel", "kite",    "lark",   "linnet",  "lynx",     "magpie",
     "marten",  "merlin",  "mole",    "moose",   "newt",   "octopus", "osprey",   "otter",
     "owl",     "pelican", "pika",    "plover",  "puffin", "quail",   "raven",    "robin",
     "salmon",  "seal",    "shrew",   "siskin",  "snipe",  "sparrow", "starling", "stork",
     "swallow", "swan",    "swift",   "tern",    "thrush", "toad",    "wagtail",  "wren"});

}  // namespace

std::string pet_name(Random& random) {
  std::string name(kAdjectives[random.below(kAdjectives.size())]);
  return name.append("-").append(kAnimals[random.below(kAnimals.size())]);
}

}  // namespace culvert::hubapi
