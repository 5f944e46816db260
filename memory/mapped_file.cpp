#include "memory/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/error.h"

namespace lfm {
namespace {

struct Descriptor {
    int fd;
    ~Descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

std::string system_message() { return std::strerror(errno); }

}  // namespace

MappedFile MappedFile::open(const std::filesystem::path& path) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.fd < 0) throw Error(ErrorCode::kInvalidModel, path.string(), "cannot open: " + system_message());
    struct stat status {};
    if (::fstat(file.fd, &status) != 0)
        throw Error(ErrorCode::kInvalidModel, path.string(), "cannot read its status: " + system_message());
    if (!S_ISREG(status.st_mode))
        throw Error(ErrorCode::kInvalidModel, path.string(), "expected a regular file, found something else");
    if (status.st_size == 0)
        throw Error(ErrorCode::kInvalidModel, path.string(), "expected a model, found an empty file");
    const auto size = static_cast<std::size_t>(status.st_size);
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd, 0);
    if (data == MAP_FAILED) throw Error(ErrorCode::kIo, path.string(), "cannot map: " + system_message());
    // Large pages where the page cache has them: address look-ups cost a tenth of decode speed otherwise. A hint.
    ::madvise(data, size, MADV_HUGEPAGE);
    return MappedFile(static_cast<const std::byte*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this != &other) {
        unmap();
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

MappedFile::~MappedFile() { unmap(); }

void MappedFile::unmap() noexcept {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::will_need(std::size_t offset, std::size_t size) const {
    if (offset >= size_) return;
    const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t begin = offset / page * page;
    const std::size_t end = size < size_ - offset ? offset + size : size_;
    ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_WILLNEED);
}

}  // namespace lfm
