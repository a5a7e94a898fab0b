#include "http/signature.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/check.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "http/structured_field.h"

namespace culvert::http {
namespace {

constexpr std::string_view kAlgorithm = "ed25519";
constexpr size_t kNonceBytes = 16;
// Bounds what the replay guard keeps of a peer's choosing; ours are 22 characters.
constexpr size_t kMinNonceLength = 16;
constexpr size_t kMaxNonceLength = 64;

template <class... Args>
std::unexpected<Error> refuse(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::kUnauthorized, "the request's signature is not accepted: {}",
              fmt::format(format, std::forward<Args>(args)...));
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

std::string content_digest(std::string_view body) {
  return "sha-256=:" + to_base64(sha256(as_bytes(body))) + ":";
}

// All fields of that name as one value (RFC 9421, 2.1).
std::optional<std::string> combined_field(const Request& request, std::string_view name) {
  if (!request.headers.find(name)) return std::nullopt;
  std::string combined;
  bool first = true;
  for (const auto& [field, value] : request.headers) {
    if (!equals_lower(field, name)) continue;
    if (!first) combined += ", ";
    combined += trim(value);
    first = false;
  }
  return combined;
}

// RFC 9421, 2.2.3: folded, without the default port of https.
std::optional<std::string> authority(const Request& request) {
  const std::string* host = request.headers.find("host");
  if (!host) return std::nullopt;
  std::string folded = to_lower(*host);
  if (folded.ends_with(":443")) folded.resize(folded.size() - 4);
  return folded;
}

std::optional<std::string> component_value(const Request& request, std::string_view component) {
  if (component == "@method") return request.method;
  if (component == "@path") return std::string(path_of(request.target));
  if (component == "@query") {
    size_t mark = request.target.find('?');
    return mark == std::string::npos ? "?" : request.target.substr(mark);
  }
  if (component == "@authority") return authority(request);
  if (component.starts_with('@')) return std::nullopt;
  return combined_field(request, component);
}

Result<> check_digest(const Request& request) {
  auto field = combined_field(request, "content-digest");
  if (!field) return refuse("there is no Content-Digest");
  auto digests = parse_byte_sequences(*field);
  if (!digests) return refuse("Content-Digest: {}", digests.error().message);
  for (const ByteSequenceMember& digest : *digests) {
    if (digest.key != "sha-256") continue;
    Sha256 actual = sha256(as_bytes(request.body));
    if (!std::ranges::equal(digest.value, actual)) return refuse("Content-Digest does not fit the body");
    return {};
  }
  return refuse("Content-Digest has no sha-256");
}

const Parameter* find_parameter(const InnerListMember& member, std::string_view key, Parameter::Type type) {
  for (const Parameter& parameter : member.parameters) {
    if (parameter.key == key && parameter.type == type) return &parameter;
  }
  return nullptr;
}

auto find_tagged(const std::vector<InnerListMember>& inputs, std::string_view tag) {
  return std::ranges::find_if(inputs, [tag](const InnerListMember& member) {
    const Parameter* found = find_parameter(member, "tag", Parameter::Type::kString);
    return found && found->text == tag;
  });
}

struct SignatureParameters {
  PublicKey key;
  UnixTime created;
  std::string nonce;
};

Result<SignatureParameters> check_parameters(const InnerListMember& input, UnixTime now) {
  using enum Parameter::Type;
  const Parameter* created = find_parameter(input, "created", kInteger);
  const Parameter* nonce = find_parameter(input, "nonce", kString);
  const Parameter* key_id = find_parameter(input, "keyid", kString);
  const Parameter* algorithm = find_parameter(input, "alg", kString);
  if (!created) return refuse("it has no created time");
  if (!nonce) return refuse("it has no nonce");
  if (!key_id) return refuse("it has no keyid");
  if (!algorithm || algorithm->text != kAlgorithm) return refuse("its alg is not \"{}\"", kAlgorithm);
  if (nonce->text.size() < kMinNonceLength || nonce->text.size() > kMaxNonceLength) {
    return refuse("its nonce is not {} to {} characters long", kMinNonceLength, kMaxNonceLength);
  }
  if (key_id->text.size() != 2 * PublicKey::kSize) return refuse("its keyid is not a public key in hex");
  auto key = PublicKey::parse(key_id->text);
  if (!key) return refuse("its keyid is not a public key in hex");

  UnixTime created_at{std::chrono::seconds(created->integer)};
  if (created_at < now - kMaxClockSkew || created_at > now + kMaxClockSkew) {
    return refuse(
        "the clock of the machine that signed it is {} s {} this server's, and at most {} s are accepted; "
        "set the clock that is wrong",
        std::abs((created_at - now).count()), created_at < now ? "behind" : "ahead of",
        kMaxClockSkew.count());
  }
  if (const Parameter* expires = find_parameter(input, "expires", kInteger);
      expires && UnixTime(std::chrono::seconds(expires->integer)) < now) {
    return refuse("it has expired");
  }
  return SignatureParameters{*key, created_at, nonce->text};
}

Result<> check_components(const Request& request, const std::vector<std::string>& covered) {
  std::vector<std::string> required{"@method", "@path", "content-digest"};
  if (request.target.find('?') != std::string::npos) required.push_back("@query");
  if (request.headers.find(kInstanceField)) required.emplace_back(kInstanceField);
  for (const std::string& component : required) {
    if (std::ranges::find(covered, component) == covered.end())
      return refuse("it does not cover \"{}\"", component);
  }
  return {};
}

}  // namespace

Result<std::string> signature_base(const Request& request, const std::vector<std::string>& components,
                                   std::string_view parameters) {
  std::string base;
  for (size_t i = 0; i < components.size(); ++i) {
    const std::string& component = components[i];
    if (std::find(components.begin(), components.begin() + static_cast<ptrdiff_t>(i), component) !=
        components.begin() + static_cast<ptrdiff_t>(i)) {
      return refuse("it covers a component twice");
    }
    auto value = component_value(request, component);
    if (!value) return refuse("it covers a component that is missing or not understood");
    base += fmt::format("{}: {}\n", serialize_string(component), *value);
  }
  base += fmt::format("\"@signature-params\": {}", parameters);
  return base;
}

void sign_request(Request& request, const SecretKey& key, std::string_view tag, UnixTime now, Random& random,
                  std::string_view label) {
  std::array<uint8_t, kNonceBytes> nonce;
  random.fill(nonce);
  std::vector<std::string> components{"@method", "@path", "content-digest"};
  if (request.target.find('?') != std::string::npos) components.push_back("@query");
  if (request.headers.find(kInstanceField)) components.emplace_back(kInstanceField);
  std::string list;
  for (const std::string& component : components) {
    if (!list.empty()) list += ' ';
    list += serialize_string(component);
  }
  std::string parameters = fmt::format("({});created={};nonce=\"{}\";keyid=\"{}\";alg=\"{}\";tag=\"{}\"",
                                       list, now.time_since_epoch().count(), to_base64url(nonce),
                                       key.public_key().to_string(), kAlgorithm, tag);

  if (!request.headers.find("content-digest"))
    request.headers.add("Content-Digest", content_digest(request.body));
  auto base = signature_base(request, components, parameters);
  CHECK(base.has_value());
  request.headers.add("Signature-Input", fmt::format("{}={}", label, parameters));
  request.headers.add("Signature", fmt::format("{}=:{}:", label, to_base64(key.sign(as_bytes(*base)))));
}

bool has_signature(const Request& request, std::string_view tag) {
  auto field = combined_field(request, "signature-input");
  if (!field) return false;
  auto inputs = parse_inner_lists(*field);
  return inputs && find_tagged(*inputs, tag) != inputs->end();
}

std::string claimed_key(const Request& request, std::string_view tag) {
  auto field = combined_field(request, "signature-input");
  if (!field) return {};
  auto inputs = parse_inner_lists(*field);
  if (!inputs) return {};
  const auto input = find_tagged(*inputs, tag);
  if (input == inputs->end()) return {};
  const Parameter* key_id = find_parameter(*input, "keyid", Parameter::Type::kString);
  const bool is_key = key_id != nullptr && key_id->text.size() == 2 * PublicKey::kSize;
  return is_key ? to_lower(key_id->text) : "";
}

Result<VerifiedSignature> verify_request(const Request& request, std::string_view tag, UnixTime now) {
  auto input_field = combined_field(request, "signature-input");
  auto signature_field = combined_field(request, "signature");
  if (!input_field || !signature_field) return refuse("there is no Signature-Input or no Signature");
  auto inputs = parse_inner_lists(*input_field);
  if (!inputs) return refuse("Signature-Input: {}", inputs.error().message);
  auto signatures = parse_byte_sequences(*signature_field);
  if (!signatures) return refuse("Signature: {}", signatures.error().message);

  auto input = find_tagged(*inputs, tag);
  if (input == inputs->end()) return refuse("none has the tag \"{}\"", tag);
  auto signature = std::ranges::find(*signatures, input->key, &ByteSequenceMember::key);
  if (signature == signatures->end()) return refuse("Signature has no member for that label");
  Signature bytes;
  if (signature->value.size() != bytes.size()) return refuse("it is not {} bytes long", bytes.size());
  std::ranges::copy(signature->value, bytes.begin());

  auto parameters = check_parameters(*input, now);
  if (!parameters) return std::unexpected(parameters.error());
  if (auto components = check_components(request, input->items); !components) {
    return std::unexpected(components.error());
  }
  if (auto digest = check_digest(request); !digest) return std::unexpected(digest.error());
  auto base = signature_base(request, input->items, input->canonical);
  if (!base) return std::unexpected(base.error());
  if (!parameters->key.verify(as_bytes(*base), bytes)) return refuse("it does not verify");
  return VerifiedSignature{parameters->key, parameters->created, std::move(parameters->nonce)};
}

ReplayGuard::ReplayGuard(Random& random)
    : instance_([&random] {
        std::array<uint8_t, kNonceBytes> name;
        random.fill(name);
        return to_base64url(name);
      }()) {}

bool ReplayGuard::is_addressed(const Request& request) const {
  return combined_field(request, kInstanceField) == instance_;
}

Result<> ReplayGuard::admit(const VerifiedSignature& signature, UnixTime now) {
  forget_stale(now);
  std::string id(as_text(signature.key.bytes()));
  id += signature.nonce;
  if (seen_.contains(id))
    return fail(ErrorCode::kUnauthorized, "the request is a replay: its nonce was seen before");
  if (seen_.size() >= kMaxEntries) {
    return fail(ErrorCode::kLimit,
                "{} signed requests in the last minute are the most this hub remembers; try again later",
                kMaxEntries);
  }
  // One second more than the signature is accepted, so that it is never forgotten first.
  seen_.emplace(std::move(id), signature.created + kMaxClockSkew + std::chrono::seconds(1));
  return {};
}

void ReplayGuard::forget_stale(UnixTime now) {
  // Walking all entries at most once in ten seconds keeps admit() cheap; a full guard is walked once a
  // second. A clock that was set back must not stop it.
  constexpr std::chrono::seconds kInterval{10};
  if (now < next_sweep_ && next_sweep_ <= now + kInterval) return;
  std::erase_if(seen_, [&](const auto& entry) { return entry.second < now; });
  next_sweep_ = now + (seen_.size() >= kMaxEntries ? std::chrono::seconds(1) : kInterval);
}

}  // namespace culvert::http
