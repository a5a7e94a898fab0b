#include "route/persistent_set.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <vector>

#include "base/random.h"

namespace culvert::route {
namespace {

using Ints = PersistentSet<int, std::less<>>;

std::vector<int> all(const Ints& set) {
  std::vector<int> out;
  set.for_each([&](int element) { out.push_back(element); });
  return out;
}

TEST(PersistentSet, AgreesWithAnOrdinarySetAndLeavesOldOnesAlone) {
  SeededRandom random(7);
  Ints set;
  std::set<int> model;
  std::vector<std::pair<Ints, std::vector<int>>> kept;
  for (int step = 0; step < 5000; ++step) {
    const int element = static_cast<int>(random.u64() % 400);
    // Grows at first, shrinks to nothing in the end.
    const bool grows = random.u64() % 10 < (step < 2500 ? 7u : 3u);
    if (grows) {
      set = set.insert(element);
      model.insert(element);
    } else {
      set = set.erase(element);
      model.erase(element);
    }
    ASSERT_EQ(set.size(), model.size());
    ASSERT_EQ(set.find(element) != nullptr, model.contains(element));
    if (step % 100 == 0) kept.emplace_back(set, std::vector<int>(model.begin(), model.end()));
  }
  for (int element : std::set<int>(model)) set = set.erase(element);
  EXPECT_EQ(set.size(), 0u);
  for (const auto& [old, elements] : kept) EXPECT_EQ(all(old), elements);
}

// Counts how often an element was copied, which is how many nodes were made.
struct Counted {
  int value;
  static inline size_t copies = 0;
  explicit Counted(int v) : value(v) {}
  Counted(const Counted& other) : value(other.value) { ++copies; }
  Counted& operator=(const Counted&) = delete;
};
struct CountedLess {
  bool operator()(const Counted& a, const Counted& b) const { return a.value < b.value; }
};

TEST(PersistentSet, AChangeCopiesALogarithmOfTheElementsInWhateverOrderTheyCame) {
  for (int order : {0, 1, 2}) {
    PersistentSet<Counted, CountedLess> set;
    SeededRandom random(1);
    for (int i = 0; i < 10'000; ++i) {
      const int value = order == 0 ? i : order == 1 ? -i : static_cast<int>(random.u64() % 1'000'000);
      // Each level copies one element, and a rotation two more, moves included.
      const size_t most = 5 * (2 + 2 * static_cast<size_t>(std::bit_width(set.size())));
      Counted::copies = 0;
      set = set.insert(Counted(value));
      ASSERT_LE(Counted::copies, most);
      if (i % 3 != 0) continue;
      Counted::copies = 0;
      set = set.erase(Counted(value));
      ASSERT_LE(Counted::copies, most);
    }
  }
}

struct ByTens {
  static int tens(int value) { return value / 10; }
  bool operator()(int a, int b) const { return a < b; }
  struct Tens {
    int value;
  };
  bool operator()(int a, Tens b) const { return tens(a) < b.value; }
  bool operator()(Tens a, int b) const { return a.value < tens(b); }
};

TEST(PersistentSet, ManyElementsMayEqualOneKey) {
  PersistentSet<int, ByTens> set;
  for (int i = 0; i < 100; i += 3) set = set.insert(i);
  std::vector<int> found;
  set.for_each_equal(ByTens::Tens{4}, [&](int element) { found.push_back(element); });
  EXPECT_EQ(found, (std::vector{42, 45, 48}));
  ASSERT_NE(set.find(ByTens::Tens{4}), nullptr);
  EXPECT_EQ(*set.find(ByTens::Tens{4}), 42);
  EXPECT_EQ(set.find(ByTens::Tens{11}), nullptr);
}

TEST(PersistentSet, NothingIsCopiedForWhatIsNotThere) {
  PersistentSet<Counted, CountedLess> set;
  for (int i = 0; i < 10; ++i) set = set.insert(Counted(2 * i));
  Counted::copies = 0;
  EXPECT_EQ(set.erase(Counted(5)).size(), 10u);
  EXPECT_EQ(Counted::copies, 0u);
}

}  // namespace
}  // namespace culvert::route
