// A hub that is killed while it writes.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <map>
#include <set>
#include <thread>

#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;

constexpr int kWriters = 4;  // their commands share commits
constexpr std::array<const char*, 3> kParts = {"a", "b", "c"};

// Writes numbers, three records each, and tells of each that was accepted.
net::Task<> write_numbers(Ledger& ledger, int first, int told) {
  for (int number = first;; number += kWriters) {
    Batch batch;
    for (const char* part : kParts)
      batch.records.push_back({.kind = "number", .key = fmt::format("{}-{}", number, part), .body = "{}"});
    auto written = co_await ledger.commit(
        {.touches = {fmt::format("{}", number)}, .judge = [&]() -> Result<Batch> { return batch; }});
    if (!written) _exit(3);
    if (::write(told, &number, sizeof number) != sizeof number) _exit(4);
  }
}

[[noreturn]] void be_a_hub(Result<std::unique_ptr<RecordDatabase>> database, int first, int told) {
  if (!database) _exit(2);
  net::EventLoop loop;
  auto store = ThreadedStore::open(loop, std::move(*database), {});
  if (!store) _exit(2);
  State state;
  Ledger ledger(loop, std::move(*store), state, {});
  net::TaskGroup tasks(loop);
  for (int i = 0; i < kWriters; ++i) tasks.spawn(write_numbers(ledger, first + i, told));
  loop.run();
  _exit(5);
}

using KillTest = testing::AnyStoreFixture;
CULVERT_ON_EACH_DATABASE(KillTest);

TEST_P(KillTest, NothingThatWasAcceptedIsLostOrHalfThere) {
  std::set<int> accepted;
  for (int round = 0; round < 200; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      be_a_hub(open_database(), round * 1000, ends[1]);
    }
    ::close(ends[1]);
    // Some are killed while they start.
    int number;
    const bool is_writing = round % 4 == 0 || ::read(ends[0], &number, sizeof number) == sizeof number;
    ASSERT_TRUE(is_writing);
    if (round % 4 != 0) accepted.insert(number);
    std::this_thread::sleep_for(std::chrono::microseconds(random_.below(20'000)));
    ::kill(child, SIGKILL);
    while (::read(ends[0], &number, sizeof number) == sizeof number) accepted.insert(number);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << status;
  }
  auto database = open_database();
  ASSERT_TRUE(database) << database.error().message;
  std::map<int, size_t> parts;
  for (const Record& record : (*database)->load().value().records) ++parts[std::stoi(record.key)];
  for (const auto& [number, count] : parts) EXPECT_EQ(count, kParts.size()) << number << " is half there";
  for (int number : accepted) EXPECT_TRUE(parts.contains(number)) << number << " is lost";
  EXPECT_GT(accepted.size(), 100u) << "too little was written for a test";
}

}  // namespace
}  // namespace culvert::hub
