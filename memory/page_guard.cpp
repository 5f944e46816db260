#include "memory/page_guard.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <utility>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/error.h"

namespace lfm {

struct GuardedRange {
    static constexpr std::size_t kNothingLost = std::numeric_limits<std::size_t>::max();

    /// Odd: the entry is nobody's, or changes hands. Even, and the same before and after reading: what was read belongs
    /// together.
    std::atomic<std::uint32_t> version = 1;
    std::atomic<std::uintptr_t> begin = 0;
    std::atomic<std::size_t> size = 0;
    std::atomic<int> descriptor = -1;
    std::atomic<std::size_t> lost = kNothingLost;
    GuardedRange* next = nullptr;  // in the list of all entries ever made
};

namespace {

static_assert(std::atomic<std::uint32_t>::is_always_lock_free && std::atomic<int>::is_always_lock_free &&
                  std::atomic<std::size_t>::is_always_lock_free && std::atomic<GuardedRange*>::is_always_lock_free,
              "else a signal handler must not touch them");

// A signal has one handler in a process, and it gets no argument of ours. Entries are never freed, only used again: a
// fault elsewhere may be looking at them.
std::atomic<GuardedRange*> first_range = nullptr;
std::mutex table_mutex;  // of those who add and release; the handler takes none
struct sigaction previous_handler {};
std::size_t page_size = 0;

void note_lost(GuardedRange& range, std::size_t offset) {
    std::size_t lost = range.lost.load(std::memory_order_relaxed);
    while (offset < lost && !range.lost.compare_exchange_weak(lost, offset, std::memory_order_release)) {
    }
}

/// Whether `address` lies in a guarded range and reads as zero now. In the handler.
bool replace_lost(std::uintptr_t address) {
    for (GuardedRange* range = first_range.load(std::memory_order_acquire); range != nullptr; range = range->next) {
        const std::uint32_t version = range->version.load(std::memory_order_acquire);
        const std::uintptr_t begin = range->begin.load(std::memory_order_acquire);
        const std::size_t size = range->size.load(std::memory_order_acquire);
        const int descriptor = range->descriptor.load(std::memory_order_acquire);
        // An entry that changes meanwhile is not ours: the range that the faulting thread reads does not change hands.
        if (version % 2 != 0 || range->version.load(std::memory_order_relaxed) != version) continue;
        if (address < begin || address - begin >= size) continue;

        const std::size_t offset = address - begin;
        note_lost(*range, offset);
        // Everything from there on at once: results no longer count, and a fault for each page takes too long.
        std::size_t from = offset / page_size * page_size;
        struct stat status {};
        if (::fstat(descriptor, &status) == 0 && status.st_size >= 0)
            from = std::min(from, (static_cast<std::size_t>(status.st_size) + page_size - 1) / page_size * page_size);
        // Not mmap: sanitizers put their own in its place, which is not made for signal handlers.
        const long mapped = ::syscall(SYS_mmap, begin + from, size - from, PROT_READ,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        return mapped != -1;
    }
    return false;
}

void pass_on(int signal, siginfo_t* info, void* context, bool fault) {
    if ((previous_handler.sa_flags & SA_SIGINFO) != 0) return previous_handler.sa_sigaction(signal, info, context);
    if (previous_handler.sa_handler == SIG_IGN && !fault) return;
    if (previous_handler.sa_handler != SIG_DFL && previous_handler.sa_handler != SIG_IGN)
        return previous_handler.sa_handler(signal);
    ::sigaction(signal, &previous_handler, nullptr);
    // The instruction at fault faults again; another signal is sent again, and waits until the handler is left.
    if (!fault) ::raise(signal);
}

/// Nothing here but atomics and plain system calls.
extern "C" void on_bus_error(int signal, siginfo_t* info, void* context) {
    const int error = errno;
    const int code = info->si_code;
    const bool unreadable = code == BUS_ADRERR || code == BUS_MCEERR_AR;
    if (!unreadable || !replace_lost(reinterpret_cast<std::uintptr_t>(info->si_addr)))
        pass_on(signal, info, context, unreadable || code == BUS_ADRALN || code == BUS_OBJERR);
    errno = error;
}

void install_handler() {
    page_size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (::sigaction(SIGBUS, nullptr, &previous_handler) != 0 || ::sigaction(SIGBUS, &action, nullptr) != 0)
        throw Error(ErrorCode::kIo, "SIGBUS", "cannot set a handler: " + std::string(std::strerror(errno)));
}

/// An entry that is nobody's. Under the mutex.
GuardedRange& claim_range() {
    for (GuardedRange* range = first_range; range != nullptr; range = range->next)
        if (range->version.load(std::memory_order_relaxed) % 2 != 0) return *range;
    auto* range = new GuardedRange;
    range->next = first_range;
    first_range.store(range, std::memory_order_release);
    return *range;
}

void release(GuardedRange* range) noexcept {
    if (range == nullptr) return;
    const std::lock_guard lock(table_mutex);
    ++range->version;
}

}  // namespace

PageGuard::PageGuard(std::span<const std::byte> mapping, int descriptor) {
    static std::once_flag installed;
    std::call_once(installed, install_handler);
    const std::lock_guard lock(table_mutex);
    range_ = &claim_range();
    range_->begin.store(reinterpret_cast<std::uintptr_t>(mapping.data()), std::memory_order_release);
    range_->size.store(mapping.size(), std::memory_order_release);
    range_->descriptor.store(descriptor, std::memory_order_release);
    range_->lost.store(GuardedRange::kNothingLost, std::memory_order_relaxed);
    range_->version.fetch_add(1, std::memory_order_release);
}

PageGuard::PageGuard(PageGuard&& other) noexcept : range_(std::exchange(other.range_, nullptr)) {}

PageGuard& PageGuard::operator=(PageGuard&& other) noexcept {
    if (this != &other) {
        release(range_);
        range_ = std::exchange(other.range_, nullptr);
    }
    return *this;
}

PageGuard::~PageGuard() { release(range_); }

std::optional<std::size_t> PageGuard::lost_offset() const {
    if (range_ == nullptr) return std::nullopt;
    const std::size_t lost = range_->lost.load(std::memory_order_acquire);
    return lost == GuardedRange::kNothingLost ? std::nullopt : std::optional(lost);
}

}  // namespace lfm
