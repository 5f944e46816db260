// A regular file mapped read-only: the one copy of the weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "memory/page_guard.h"

namespace lfm {

/// What happened to a mapped file since it was opened.
struct FileChange {
    std::optional<std::size_t> offset;  // of the first byte that is lost; nothing: any byte may have changed
    std::string found;                  // "the file cut to 4096 bytes while in use"

    std::string message() const;
};

class MappedFile {
public:
    /// Maps the whole file. Throws Error{kInvalidModel} when it is missing, unreadable, empty or not a regular file (a
    /// FIFO would block, a device has no size), Error{kIo} when the system refuses the mapping. Reads nothing yet:
    /// pages come in when touched.
    static MappedFile open(const std::filesystem::path& path);

    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    ~MappedFile();

    std::span<const std::byte> bytes() const { return {data_, size_}; }

    /// Nothing while the bytes are those that were there at first. Reading never fails: zeros are read where the file
    /// was cut or the disk gives an error. So what was computed with the bytes counts only when there is no change
    /// afterwards. Writes by others are noticed by size and time of modification. Costs a system call.
    std::optional<FileChange> change() const;

    /// Asks the kernel to read a part of the file ahead. A hint: failure is ignored.
    void will_need(std::size_t offset, std::size_t size) const;

private:
    MappedFile() = default;
    void close() noexcept;

    int descriptor_ = -1;
    std::int64_t modified_ = 0;  // ns since 1970
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    PageGuard guard_;
};

}  // namespace lfm
