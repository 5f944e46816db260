#include "memory/host_buffer.h"

#include <string>
#include <utility>

#include <sys/mman.h>

#include "memory/error.h"

namespace lfm {

HostBuffer::HostBuffer(Ledger& ledger, Purpose purpose, std::size_t size) {
    if (size == 0) return;
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        throw Error(ErrorCode::kShortfall, std::string(purpose_name(purpose)),
                    "expected " + format_bytes(Bytes{size}) + " of memory, the system refused");
    // Large pages save address look-ups on big tables; a hint, not every kernel grants it.
    if (size >= (std::size_t{2} << 20)) ::madvise(data, size, MADV_HUGEPAGE);
    data_ = static_cast<std::byte*>(data);
    size_ = size;
    entry_ = LedgerEntry(ledger, {kHost, purpose, Bytes{size}});
}

HostBuffer::HostBuffer(HostBuffer&& other) noexcept
    : entry_(std::move(other.entry_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

HostBuffer& HostBuffer::operator=(HostBuffer&& other) noexcept {
    std::swap(entry_, other.entry_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

HostBuffer::~HostBuffer() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace lfm
