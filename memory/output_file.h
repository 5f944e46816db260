// A file that a program was told to write: checked before the work for it begins, whole or not there at all afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "memory/units.h"

namespace lfm {

/// Which file a path leads to, through links of both kinds.
struct FileIdentity {
    ::dev_t device = 0;
    ::ino_t inode = 0;
    bool operator==(const FileIdentity&) const = default;
};
/// Nothing when there is none, or what is there is no regular file.
std::optional<FileIdentity> file_identity(const std::string& path);

/// What is written goes
/// - to a regular file, or where there is none: into a temporary file beside it, which takes its place at the end, with
///   the mode of the old one. The temporary file has no name where the file system can do that, so that nothing is left
///   when the process is killed; else it is removed with this object.
/// - to a device or a pipe: directly. A pipe is opened when the first bytes are there, and waits for its reader.
/// - through a symbolic link: to what it names, also when that is not there yet. The link stays.
/// - to one of the process's own descriptors (/dev/stdout, /dev/fd/3; "-" is standard output), and to a regular file
///   that standard output or error goes to already: to that descriptor, behind what is there.
/// Every error is Error{kIo} with the path and the system's words; then the old file is as it was.
class OutputFile {
public:
    /// Checks what can be known now: the folder is there and can be written, the file is no folder and may be written.
    /// Throws Error{kUsage} when it is one of `inputs`, by whatever name, or what standard input comes from.
    explicit OutputFile(std::string path, std::span<const std::string> inputs = {});
    OutputFile(OutputFile&& other) noexcept;
    OutputFile& operator=(OutputFile&&) = delete;
    ~OutputFile();

    const std::string& path() const { return path_; }
    /// Takes room on the disk for what is going to be written, where the disk can say whether it has it.
    void reserve(Bytes size);
    /// Behind what was written before.
    void write(std::string_view bytes);
    /// Nothing more is written: puts the file in its place.
    void keep();

    /// Throws Error{kUsage} when both lead to the same regular file.
    void require_other_than(const OutputFile& other) const;

private:
    enum class Kind { kReplaced, kOpened, kPipe };  // kPipe: not opened yet
    void open_target(std::span<const std::string> inputs);
    void make_temporary();
    void copy_mode();
    void close() noexcept;
    [[noreturn]] void fail(int reason) const;

    std::string path_;       // as the user named it
    std::string folder_;     // of the target
    std::string target_;     // behind links
    std::string temporary_;  // its name, while it has one
    std::optional<FileIdentity> old_;
    Kind kind_ = Kind::kReplaced;
    int descriptor_ = -1;
    std::uint64_t written_ = 0;
};

/// All of `content` as the file at `path`.
void write_file(const std::string& path, std::string_view content);

}  // namespace lfm
