#pragma once
#include <string>

#include "base/result.h"

namespace culvert {

// A shared library that is loaded when it is needed, and stays. For what few processes need and what brings
// many other libraries with it.
class SharedLibrary {
 public:
  // `name` as in "libpq.so.5". kNotFound: the message is the dynamic linker's.
  static Result<SharedLibrary> load(const char* name);

  // Stores the address of the function `name` in `function`, whose type is from the library's header.
  // kNotFound.
  template <class Function>
  Result<> find(const char* name, Function*& function) const {
    auto address = find_address(name);
    if (!address) return std::unexpected(address.error());
    function = reinterpret_cast<Function*>(*address);
    return {};
  }

 private:
  explicit SharedLibrary(void* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  Result<void*> find_address(const char* name) const;

  void* handle_;
  std::string name_;
};

}  // namespace culvert
