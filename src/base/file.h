#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/descriptor.h"
#include "base/result.h"

namespace culvert {

// Reads a whole file, of a pipe what comes without a pause of 5 s. Errors: kNotFound, kIo (with the reason),
// kLimit when longer than `max_size`.
Result<Bytes> read_file(const std::filesystem::path& path, size_t max_size);

// Gives each line to `take`, without its end, and holds no more than one in memory; what follows the last end
// is left out. Errors as read_file(), kLimit for a line that is longer than `max_line`, and those of `take`.
Result<> read_lines(const std::filesystem::path& path, size_t max_line,
                    const std::function<Result<>(std::string_view line)>& take);

// Creates `path` with mode 0600 and exactly these bytes, atomically: a reader sees the whole file or none.
// Errors: kConflict when it exists already (two starting processes agree on one key), kIo.
Result<> create_private_file(const std::filesystem::path& path, ByteView content);

// The same with mode 0644, for a file without a secret.
Result<> create_public_file(const std::filesystem::path& path, ByteView content);

// Replaces `path` atomically (a temporary file renamed over it). mode as in chmod.
Result<> replace_file(const std::filesystem::path& path, ByteView content, unsigned mode);

// Adds to the end of an existing file. After an error a part of `content` may be there. kIo.
Result<> append_to_file(const std::filesystem::path& path, ByteView content);

// Cuts an existing file to `size` bytes. kIo.
Result<> truncate_file(const std::filesystem::path& path, size_t size);

// Removes what interrupted calls of the above for `path` left behind at least `min_age` ago. They do so
// themselves for what is older than any write takes.
void remove_drafts(const std::filesystem::path& path, Duration min_age);

// Takes what group and others may do with a file that holds a secret away from them. False: nothing to do, or
// no such file. kIo: they keep it; the message has the command that removes it.
Result<bool> make_private(const std::filesystem::path& path);

// kInvalid when group or others may write to the directory, and so replace the files in it; the message has
// the command that ends this.
Result<> check_only_owner_writes(const std::filesystem::path& directory);

// Creates the directory and its parents with mode 0700; fine when it exists. kIo otherwise.
Result<> create_private_directory(const std::filesystem::path& path);

// Which file a path leads to, symbolic links followed. As long as a process has the file open, no other file
// gets its identity.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};
// Errors: kNotFound, kIo.
Result<FileIdentity> file_identity(const std::filesystem::path& path);

// An advisory lock on a file, held until this is destroyed or the process ends, however it ends. The file
// stays and holds the owner's pid, for the message that another one gets.
class FileLock {
 public:
  // Errors: kConflict when it is held already, in this process or another (the message: "pid N", or "unknown
  // pid"); kIo. Needs no free space when the file is there.
  static Result<FileLock> take(const std::filesystem::path& path);
  // One that another process held and passed on: it is held until both have closed it.
  static FileLock adopt(Descriptor file);
  // kIo.
  Result<Descriptor> duplicate() const;
  // Others are told of this process, of those that hold it.
  void name_owner() const;

 private:
  explicit FileLock(Descriptor file) : file_(std::move(file)) {}
  Descriptor file_;
};

}  // namespace culvert
