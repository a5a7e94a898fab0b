#include "base/shared_library.h"

#include <dlfcn.h>

namespace culvert {

Result<SharedLibrary> SharedLibrary::load(const char* name) {
  // Never closed: libraries below it register what runs at the end of the process.
  void* handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return fail(ErrorCode::kNotFound, "{}", ::dlerror());
  return SharedLibrary(handle, name);
}

Result<void*> SharedLibrary::find_address(const char* name) const {
  void* address = ::dlsym(handle_, name);
  if (address == nullptr) return fail(ErrorCode::kNotFound, "{} has no function {}", name_, name);
  return address;
}

}  // namespace culvert
