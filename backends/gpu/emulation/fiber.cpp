#include "backends/gpu/emulation/fiber.h"

#include <cstdint>
#include <new>

#include <sys/mman.h>
#include <unistd.h>
#include <boost/context/detail/fcontext.hpp>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(LFM_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace lfm::gpu::emulation {

namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

// Frames of sanitized code are several times as large.
#if defined(__SANITIZE_ADDRESS__) || defined(LFM_EMULATION_TSAN)
constexpr std::size_t kStackSize = 256 << 10;
#else
constexpr std::size_t kStackSize = 64 << 10;
#endif

std::size_t page_size() {
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

}  // namespace

/// Lies on the stack that is left; the one that goes on reads it.
struct Fiber::Switch {
    Fiber* from;
    Fiber* to;
};

struct Fiber::Hooks {
    static void arrive(const transfer_t& transfer) {
        const Switch& done = *static_cast<const Switch*>(transfer.data);
        done.from->context_ = transfer.fctx;
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(done.to->fake_stack_, &done.from->stack_, &done.from->stack_size_);
#endif
    }

    [[noreturn]] static void begin(transfer_t transfer) {
        Fiber* const self = static_cast<const Switch*>(transfer.data)->to;
        arrive(transfer);
        self->work_();
        __builtin_unreachable();
    }
};

Fiber::Fiber() {
#if defined(LFM_EMULATION_TSAN)
    tsan_ = __tsan_get_current_fiber();
#endif
}

Fiber::Fiber(void (*work)()) : work_(work), stack_size_(kStackSize) {
    // The stack grows down, into a page that must not be touched.
    void* const memory = ::mmap(nullptr, page_size() + kStackSize, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mapped_ = static_cast<std::byte*>(memory);
    ::mprotect(mapped_, page_size(), PROT_NONE);
    stack_ = mapped_ + page_size();
    restart();
}

Fiber::~Fiber() {
    if (mapped_ == nullptr) return;
#if defined(LFM_EMULATION_TSAN)
    __tsan_destroy_fiber(tsan_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack_, stack_size_);  // whoever gets these pages next knows nothing of our frames
#endif
    ::munmap(mapped_, page_size() + kStackSize);
}

std::byte* Fiber::stack_end() const { return mapped_ != nullptr ? mapped_ + page_size() + kStackSize : nullptr; }

bool Fiber::overflows_at(const void* address) const {
    const auto begin = reinterpret_cast<std::uintptr_t>(mapped_);
    return mapped_ != nullptr && reinterpret_cast<std::uintptr_t>(address) - begin < page_size();
}

void Fiber::restart() {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack_, stack_size_);
    fake_stack_ = nullptr;
#endif
#if defined(LFM_EMULATION_TSAN)
    if (tsan_ == nullptr) tsan_ = __tsan_create_fiber(0);  // stays: it knows what was done on this stack before
#endif
    context_ = make_fcontext(stack_end(), kStackSize, &Hooks::begin);
}

void Fiber::switch_over(Fiber& from, Fiber& to) {
    Switch both{&from, &to};
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.fake_stack_, to.stack_, to.stack_size_);
#endif
#if defined(LFM_EMULATION_TSAN)
    __tsan_switch_to_fiber(to.tsan_, __tsan_switch_to_fiber_no_sync);
#endif
    Hooks::arrive(jump_fcontext(to.context_, &both));
}

}  // namespace lfm::gpu::emulation
