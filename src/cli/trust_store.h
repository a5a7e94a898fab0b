#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tls/root_certificate.h"

namespace culvert::cli {

// Where a distribution keeps the roots that its administrator adds, and the program that makes what other
// programs read of them.
struct TrustStore {
  std::filesystem::path directory;
  std::string extension;  // of the files that the program takes
  std::string program;
  std::vector<std::string> arguments;

  // The file of a root: its name says who put it there, and of which root it is.
  std::filesystem::path file_of(const tls::RootCertificate& root) const;
  std::string command() const;
};

// That of this system, which has both the directory and the program; nullopt: it has none that is known.
// `system` is the directory of the root of the file system.
std::optional<TrustStore> find_trust_store(const std::filesystem::path& system = "/");

// What is done to make a system trust a root, or not trust it any more; decided before anything is done.
struct TrustPlan {
  enum class FileStep { kWrite, kRemove, kNothing };

  TrustStore store;
  tls::RootCertificate root;
  std::filesystem::path file;
  FileStep step;

  // Complete lines for people: what is done, and what it means.
  std::string text() const;
  // Does the step with the file, then runs the program. Errors say what is done already.
  Result<> carry_out() const;
};
// kNotFound: it is to be removed and is not there. kConflict: another file has its name.
Result<TrustPlan> plan_trust(TrustStore store, tls::RootCertificate root, bool removes);

}  // namespace culvert::cli
