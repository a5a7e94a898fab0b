#include "hubapi/entry.h"

#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/text.h"

namespace culvert::hubapi {
namespace {

namespace json = boost::json;
using Op = EntryChange::Op;

const char* name_of(Op op) {
  switch (op) {
    case Op::kPut:
      return "put";
    case Op::kDelete:
      return "delete";
    case Op::kLeave:
      return "leave";
  }
  return "unknown";
}

uint64_t max_sequence(Op op) {
  switch (op) {
    case Op::kPut:
      return EntryChange::kMaxPut;
    case Op::kDelete:
      return EntryChange::kMaxDelete;
    case Op::kLeave:
      break;
  }
  return EntryChange::kMaxLeave;
}

std::optional<Op> parse_op(std::string_view text) {
  for (const Op op : {Op::kPut, Op::kDelete, Op::kLeave}) {
    if (text == name_of(op)) return op;
  }
  return std::nullopt;
}

}  // namespace

std::string encode(const EntryChange& change) {
  json::object body{{"sequence", change.sequence}, {"op", name_of(change.op)}};
  if (change.hostname) body["hostname"] = change.hostname->text();
  if (change.tls_mode) body["tls_mode"] = route::to_string(*change.tls_mode);
  return json::serialize(body);
}

Result<EntryChange> decode_entry_change(std::string_view text) {
  constexpr std::string_view kWhat = "the entry";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  const std::string_view op_text = reader.text("op");
  if (reader.error()) return std::unexpected(*reader.error());
  // Before the other members: a later op may have members that are not known either.
  const auto op = parse_op(op_text);
  if (!op) {
    return fail(ErrorCode::kConflict, "{}: op {} is unknown (expected put, delete or leave)", kWhat,
                culvert::quoted(op_text));
  }
  if (auto known = refuse_unknown_members(kWhat, *body, {"sequence", "op", "hostname", "tls_mode"}); !known)
    return std::unexpected(known.error());
  const auto sequence = static_cast<uint64_t>(reader.integer("sequence", 1, INT64_MAX));
  if (reader.error()) return std::unexpected(*reader.error());
  if (sequence > max_sequence(*op)) {
    return fail(ErrorCode::kInvalid,
                "{}: sequence {} is above {}, the highest of {}; delete what is not needed, or leave", kWhat,
                sequence, max_sequence(*op), name_of(*op));
  }
  EntryChange change{.sequence = sequence, .op = *op};
  if (*op == Op::kLeave) {
    if (reader.has("hostname") || reader.has("tls_mode"))
      return fail(ErrorCode::kInvalid, "{}: leave has neither hostname nor tls_mode", kWhat);
    return change;
  }
  const std::string_view hostname_text = reader.text("hostname");
  if (reader.error()) return std::unexpected(*reader.error());
  auto hostname = route::HostPattern::parse(hostname_text);
  if (!hostname) return fail(ErrorCode::kInvalid, "{}: {}", kWhat, hostname.error().message);
  change.hostname = std::move(*hostname);
  if (!reader.has("tls_mode")) return change;
  if (*op == Op::kDelete) return fail(ErrorCode::kInvalid, "{}: delete has no tls_mode", kWhat);
  const std::string_view mode_text = reader.text("tls_mode");
  if (reader.error()) return std::unexpected(*reader.error());
  change.tls_mode = route::parse_tls_mode(mode_text);
  if (!change.tls_mode) {
    return fail(ErrorCode::kInvalid, "{}: tls_mode {} is neither \"passthrough\" nor \"terminate\"", kWhat,
                culvert::quoted(mode_text));
  }
  return change;
}

std::string challenge_name(const route::HostPattern& hostname) {
  std::string_view name = hostname.text();
  if (hostname.is_wildcard()) name.remove_prefix(2);
  return "_culvert-challenge." + std::string(name);
}

std::string challenge_value(const PublicKey& tenant) { return "culvert-tenant=" + tenant.to_string(); }

}  // namespace culvert::hubapi
