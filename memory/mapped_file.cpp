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

std::string system_message() { return std::strerror(errno); }

std::int64_t modified(const struct stat& status) {
    return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

std::string FileChange::message() const {
    return "expected " + (offset ? "to read at offset " + std::to_string(*offset) : "the file as it was when opened") +
           ", found " + found;
}

MappedFile MappedFile::open(const std::filesystem::path& path) {
    MappedFile file;
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    file.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file.descriptor_ < 0) throw Error(ErrorCode::kInvalidModel, path.string(), "cannot open: " + system_message());
    struct stat status {};
    if (::fstat(file.descriptor_, &status) != 0)
        throw Error(ErrorCode::kInvalidModel, path.string(), "cannot read its status: " + system_message());
    if (!S_ISREG(status.st_mode))
        throw Error(ErrorCode::kInvalidModel, path.string(), "expected a regular file, found something else");
    if (status.st_size == 0)
        throw Error(ErrorCode::kInvalidModel, path.string(), "expected a model, found an empty file");
    const auto size = static_cast<std::size_t>(status.st_size);
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor_, 0);
    if (data == MAP_FAILED) throw Error(ErrorCode::kIo, path.string(), "cannot map: " + system_message());
    file.modified_ = modified(status);
    file.data_ = static_cast<const std::byte*>(data);
    file.size_ = size;
    file.guard_ = PageGuard(file.bytes(), file.descriptor_);
    // Large pages where the page cache has them: address look-ups cost a tenth of decode speed otherwise. A hint.
    ::madvise(data, size, MADV_HUGEPAGE);
    return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      modified_(other.modified_),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      guard_(std::move(other.guard_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this != &other) {
        close();
        descriptor_ = std::exchange(other.descriptor_, -1);
        modified_ = other.modified_;
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
        guard_ = std::move(other.guard_);
    }
    return *this;
}

MappedFile::~MappedFile() { close(); }

void MappedFile::close() noexcept {
    guard_ = PageGuard();
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
    if (descriptor_ >= 0) ::close(descriptor_);
}

std::optional<FileChange> MappedFile::change() const {
    struct stat now {};
    if (::fstat(descriptor_, &now) != 0) return FileChange{{}, "no status of the file: " + system_message()};
    const auto size = static_cast<std::size_t>(now.st_size);
    if (size < size_) return FileChange{size, "the file cut to " + std::to_string(size) + " bytes while in use"};
    // After the status: a thread that read zeros because the file was cut for a moment has left its note by now.
    const std::optional<std::size_t> lost = guard_.lost_offset();
    if (size > size_ || modified(now) != modified_) return FileChange{lost, "the file changed while in use"};
    if (lost) return FileChange{lost, "a read error"};
    return std::nullopt;
}

void MappedFile::will_need(std::size_t offset, std::size_t size) const {
    if (offset >= size_) return;
    const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t begin = offset / page * page;
    const std::size_t end = size < size_ - offset ? offset + size : size_;
    ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_WILLNEED);
}

}  // namespace lfm
