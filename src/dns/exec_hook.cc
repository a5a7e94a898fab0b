#include "dns/exec_hook.h"

#include "base/ascii.h"
#include "base/text.h"
#include "dns/txt_value.h"
#include "net/child_process.h"

namespace culvert::dns {
namespace {

// What the shells of most systems have.
constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
// Messages in English and text in UTF-8, so that they can be quoted.
constexpr const char* kLanguage = "LANG=C.UTF-8";
// As much as quoted() shows, of the end: programs say there why they fail.
constexpr size_t kMaxQuoted = 200;

std::string describe_output(const net::ProcessEnd& end) {
  std::string_view text = trim(end.output);
  if (text.empty()) return "it printed nothing";
  if (text.size() <= kMaxQuoted) return fmt::format("it printed {}", quoted(text));
  return fmt::format("it printed at the end {}", quoted(text.substr(text.size() - kMaxQuoted)));
}

}  // namespace

Result<std::unique_ptr<ExecHook>> ExecHook::make(net::EventLoop& loop, ExecHookOptions options) {
  if (auto checked = net::check_program(options.program); !checked) return std::unexpected(checked.error());
  return std::unique_ptr<ExecHook>(new ExecHook(loop, std::move(options)));
}

net::Task<Result<>> ExecHook::put(Name name, std::string value) {
  auto done = co_await run_in_turn("add", std::move(name), std::move(value));
  co_return done;
}

net::Task<Result<>> ExecHook::remove(Name name, std::string value) {
  auto done = co_await run_in_turn("remove", std::move(name), std::move(value));
  co_return done;
}

// In the queue. It is left also where the task is cancelled, as a turn is.
struct ExecHook::Place {
  explicit Place(ExecHook& its_hook)
      : hook(its_hook), place(hook.waiting_.insert(hook.waiting_.end(), this)) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    hook.waiting_.erase(place);
    hook.changed_.notify();
  }
  bool has_turn() const { return !hook.is_running_ && hook.waiting_.begin() == place; }

  ExecHook& hook;
  const std::list<const Place*>::iterator place;
};

struct ExecHook::Turn {
  explicit Turn(ExecHook& its_hook) : hook(its_hook) { hook.is_running_ = true; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    hook.is_running_ = false;
    hook.changed_.notify();
  }

  ExecHook& hook;
};

net::Task<Result<>> ExecHook::run_in_turn(std::string action, Name name, std::string value) {
  if (waiting_.size() >= kMaxWaiting)
    co_return fail(ErrorCode::kLimit, "the DNS hook {}: {} runs are waiting already; try again later",
                   options_.program, kMaxWaiting);
  std::optional<Place> place(std::in_place, *this);
  while (!place->has_turn()) co_await changed_.wait();
  const Turn turn(*this);
  place.reset();
  auto done = co_await run(std::move(action), std::move(name), std::move(value));
  co_return done;
}

net::Task<Result<>> ExecHook::run(std::string action, Name name, std::string value) {
  if (auto checked = check_txt_value(name, value); !checked) co_return checked;
  net::ProcessOptions process{.program = options_.program,
                              .arguments = {action, name.to_string(), std::move(value)},
                              .environment = options_.environment};
  process.environment.insert(process.environment.begin(), {kPath, kLanguage});
  auto end = co_await net::run_process(loop_, std::move(process), loop_.now() + options_.timeout);
  if (!end) co_return fail(end.error().code, "the DNS hook: {}", end.error().message);
  if (end->succeeded()) co_return Result<>();
  const std::string run =
      fmt::format("the DNS hook `{} {} {} ...`", options_.program, action, name.to_string());
  if (!end->in_time)
    co_return fail(ErrorCode::kTimeout, "{} was killed after {} s; {}", run,
                   std::chrono::duration_cast<std::chrono::seconds>(options_.timeout).count(),
                   describe_output(*end));
  co_return fail(ErrorCode::kUnavailable, "{} failed with {}; {}", run, end->to_string(),
                 describe_output(*end));
}

}  // namespace culvert::dns
