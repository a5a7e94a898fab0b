#include "cli/trust_store.h"

#include <fmt/ranges.h>

#include <array>

#include "base/encoding.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/foreground.h"
#include "net/child_process.h"

namespace culvert::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPem = 64 * 1024;
// update-ca-certificates runs openssl for each of some 150 roots: a second, on a slow host half a minute.
constexpr Duration kProgramTime = std::chrono::minutes(2);
// What the program needs of an environment: it is a script that calls others.
constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const std::array<TrustStore, 4>& known_stores() {
  static const std::array<TrustStore, 4> stores = {{
      // Debian, Ubuntu, Alpine
      {"/usr/local/share/ca-certificates", ".crt", "/usr/sbin/update-ca-certificates", {}},
      // Fedora, Red Hat
      {"/etc/pki/ca-trust/source/anchors", ".pem", "/usr/bin/update-ca-trust", {"extract"}},
      // openSUSE
      {"/etc/pki/trust/anchors", ".pem", "/usr/sbin/update-ca-certificates", {}},
      // Arch
      {"/etc/ca-certificates/trust-source/anchors", ".pem", "/usr/bin/update-ca-trust", {"extract"}},
  }};
  return stores;
}

net::Task<> run_into(net::EventLoop& loop, TrustStore store, Result<net::ProcessEnd>& out) {
  out = co_await net::run_process(
      loop, {.program = store.program, .arguments = store.arguments, .environment = {kPath}},
      loop.now() + kProgramTime);
}

Result<> run_program_of(const TrustStore& store) {
  net::EventLoop loop;
  Result<net::ProcessEnd> end;
  if (!run_until_signal(loop, run_into(loop, store, end)))
    return fail(ErrorCode::kClosed, "`{}` was interrupted", store.command());
  if (!end) return std::unexpected(end.error());
  if (end->succeeded()) return {};
  return fail(ErrorCode::kIo, "`{}` failed with {}: {}", store.command(), end->to_string(),
              quoted(end->output));
}

}  // namespace

fs::path TrustStore::file_of(const tls::RootCertificate& root) const {
  return directory / fmt::format("culvert-{}{}", to_hex(ByteView(root.digest).first(8)), extension);
}

std::string TrustStore::command() const {
  return arguments.empty() ? program : fmt::format("{} {}", program, fmt::join(arguments, " "));
}

std::optional<TrustStore> find_trust_store(const fs::path& system) {
  for (const TrustStore& store : known_stores()) {
    std::error_code ignored;
    if (fs::is_directory(system / store.directory.relative_path(), ignored) &&
        fs::exists(system / fs::path(store.program).relative_path(), ignored)) {
      return store;
    }
  }
  return std::nullopt;
}

Result<TrustPlan> plan_trust(TrustStore store, tls::RootCertificate root, bool removes) {
  fs::path file = store.file_of(root);
  const auto there = read_file(file, kMaxPem);
  if (!there && there.error().code != ErrorCode::kNotFound) return std::unexpected(there.error());
  if (there && as_text(*there) != root.pem) {
    return fail(ErrorCode::kConflict,
                "{} is not the certificate that is expected under this name; look at it, "
                "and move it away",
                file.native());
  }
  if (removes && !there) {
    return fail(ErrorCode::kNotFound, "this system does not trust this root by Culvert: {} is not there",
                file.native());
  }
  const auto step = removes ? TrustPlan::FileStep::kRemove
                    : there ? TrustPlan::FileStep::kNothing
                            : TrustPlan::FileStep::kWrite;
  return TrustPlan{.store = std::move(store), .root = std::move(root), .file = std::move(file), .step = step};
}

std::string TrustPlan::text() const {
  std::string out = fmt::format("root certificate: {}\nSHA-256 fingerprint: {}\n\n", printable(root.name),
                                root.fingerprint());
  out += "Culvert is about to\n";
  switch (step) {
    case FileStep::kWrite:
      out += fmt::format("  1. write this certificate to {}\n", file.native());
      break;
    case FileStep::kRemove:
      out += fmt::format("  1. remove {}\n", file.native());
      break;
    case FileStep::kNothing:
      out += fmt::format("  1. leave {} as it is: it has this certificate already\n", file.native());
      break;
  }
  out += fmt::format("  2. run {}\n\n", store.command());
  if (step == FileStep::kRemove)
    return out + "Afterwards programs that use the system's roots do not trust it.\n";
  return out +
         "Afterwards every program that uses the system's roots trusts whatever the holder of this root's "
         "key\n"
         "signs, for any name. Firefox and Chromium have roots of their own. `culvert ca trust --remove` "
         "takes\n"
         "it back.\n";
}

Result<> TrustPlan::carry_out() const {
  constexpr unsigned kReadable = 0644;
  if (step == FileStep::kWrite) {
    auto written = replace_file(file, as_bytes(root.pem), kReadable);
    if (!written) return written;
  }
  if (step == FileStep::kRemove) {
    std::error_code error;
    fs::remove(file, error);
    if (error) return fail(ErrorCode::kIo, "cannot remove {}: {}", file.native(), error.message());
  }
  auto done = run_program_of(store);
  if (done) return {};
  const char* state = step == FileStep::kRemove ? "is removed" : "is there";
  return fail(done.error().code, "{}; {} {}: correct the cause and run `{}`", done.error().message,
              file.native(), state, store.command());
}

}  // namespace culvert::cli
