// A regular file mapped read-only: the one copy of the weights.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace lfm {

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

    /// Asks the kernel to read a part of the file ahead. A hint: failure is ignored.
    void will_need(std::size_t offset, std::size_t size) const;

private:
    MappedFile(const std::byte* data, std::size_t size) : data_(data), size_(size) {}
    void unmap() noexcept;

    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace lfm
