#include "hub/audit_handler.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "hub/page.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

// Entries hold JSON as text.
json::value parsed(const std::string& text) {
  std::error_code ec;
  json::value value = json::parse(text, ec);
  return ec ? json::value(nullptr) : value;
}

bool is_or_begins_with(std::string_view action, std::string_view wanted) {
  return action.starts_with(wanted) && (action.size() == wanted.size() || action[wanted.size()] == '.');
}

}  // namespace

struct AuditHandler::Filter {
  std::optional<std::string_view> actor, action, subject;
  std::optional<UnixTime> since;
  std::optional<uint64_t> newer;

  bool matches(const AuditEntry& entry) const {
    return (!actor || entry.actor == *actor) && (!subject || entry.subject == *subject) &&
           (!action || is_or_begins_with(entry.action, *action)) && (!since || entry.at >= *since);
  }
};

struct AuditHandler::Found {
  std::vector<AuditEntry> entries;
  std::optional<uint64_t> next;    // before which entry it goes on
  std::optional<uint64_t> newest;  // of all that was looked at
};

// Entries are in the order of their numbers. That of their times may differ, where a clock was set: `since`
// hides entries, and does not end the search.
net::Task<Result<AuditHandler::Found>> AuditHandler::read(const Filter& filter,
                                                          std::optional<uint64_t> before) {
  Found found;
  size_t scanned = 0;
  while (true) {
    auto piece = co_await ledger_.audit(before, Page::kMaxEntries + 1);
    if (!piece) co_return std::unexpected(piece.error());
    scanned += piece->size();
    if (!found.newest && !piece->empty()) found.newest = piece->front().sequence;
    for (AuditEntry& entry : *piece) {
      if (filter.newer && entry.sequence <= *filter.newer) co_return found;
      before = entry.sequence;
      if (filter.matches(entry)) {
        if (found.entries.size() == Page::kMaxEntries) {
          found.next = found.entries.back().sequence;
          co_return found;
        }
        found.entries.push_back(std::move(entry));
      }
    }
    if (piece->size() <= Page::kMaxEntries) co_return found;
    if (scanned > kMaxScanned) {
      found.next = before;
      co_return found;
    }
  }
}

net::Task<http::Response> AuditHandler::list(const http::Exchange& exchange) {
  auto query = Query::read(exchange, {"after", "newer", "since", "actor", "action", "subject", "wait"});
  if (!query) co_return bad_query(query.error());
  auto after = query->number("after");
  auto newer = query->number("newer");
  auto since = query->number("since", kMaxUnixSeconds);
  auto wait = query->number("wait", static_cast<uint64_t>(kMaxWait.count()));
  for (const auto* number : {&after, &newer, &since, &wait}) {
    if (!*number) co_return bad_query(number->error());
  }
  if (*wait && !*newer) co_return bad_query({ErrorCode::kInvalid, "wait=... needs newer=... beside it"});
  Filter filter{.actor = query->text("actor"),
                .action = query->text("action"),
                .subject = query->text("subject"),
                .since = std::nullopt,
                .newer = *newer};
  if (*since) filter.since = UnixTime(std::chrono::seconds(**since));
  const TimePoint deadline = exchange.now + std::chrono::seconds(wait->value_or(0));

  Result<Found> found;
  for (bool goes_on = true; goes_on;) {
    const uint64_t seen = ledger_.commits();
    found = co_await read(filter, *after);
    if (!found) co_return failures_.answer(found.error(), exchange.now);
    goes_on = found->entries.empty() && !found->next && *wait;
    if (goes_on) goes_on = co_await ledger_.commit_after(seen, deadline);
  }
  Page page;
  for (const AuditEntry& each : found->entries) {
    const json::object entry{{"sequence", each.sequence},  {"at", each.at.time_since_epoch().count()},
                             {"actor", each.actor},        {"action", each.action},
                             {"subject", each.subject},    {"before", parsed(each.before)},
                             {"after", parsed(each.after)}};
    if (!page.add(json::serialize(entry), std::to_string(each.sequence))) break;
  }
  json::object rest;
  if (found->newest && !*after) rest["newest"] = *found->newest;
  if (found->next) page.go_on_behind(std::to_string(*found->next));
  co_return page.answer("entries", json::serialize(rest));
}

}  // namespace culvert::hub
