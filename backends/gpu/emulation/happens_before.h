// For ThreadSanitizer: which of a group's threads has seen what of others. Switches of fibers order nothing for it, so
// that accesses which only the emulation's order keeps apart are races to it, as they are on a device. Files that are
// compiled with LFM_EMULATION_TSAN are not instrumented: what they do between threads is not the kernel's.
#pragma once

#if defined(LFM_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace lfm::gpu::emulation {

/// What was done before publish() has happened for those who observe() later.
class HappensBefore {
public:
#if defined(LFM_EMULATION_TSAN)
    void publish() { __tsan_release(this); }
    void observe() { __tsan_acquire(this); }
#else
    void publish() {}
    void observe() {}
#endif

private:
    alignas(8) [[maybe_unused]] char address_ = 0;
};

}  // namespace lfm::gpu::emulation
