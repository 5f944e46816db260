// Threads of kernels that touch memory that is not there: as on a device, their launch ends with an error and the
// program goes on. Under AddressSanitizer, which sees such accesses earlier and says more, and ThreadSanitizer, which
// handles signals itself, the process ends instead, and the kernel and its thread are named. On processors other than
// x86-64 it ends without that.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace lfm::gpu::emulation {

/// Pages that nobody may touch for a while: kernels that run up to their wait for earlier kernels
/// (GroupRunner::is_early) trespass, all others wait until they are shown again. By one thread at a time. Does nothing
/// under sanitizers and on processors other than x86-64.
void hide_pages(const std::vector<std::span<std::byte>>& pages);
void show_pages(const std::vector<std::span<std::byte>>& pages);

/// While it lives, the calling operating-system thread's kernels are watched.
class TrespassWatch {
public:
    TrespassWatch();
    ~TrespassWatch();
    TrespassWatch(const TrespassWatch&) = delete;
    TrespassWatch& operator=(const TrespassWatch&) = delete;

private:
    // The signal handler's: the stack of a thread may be used up.
    std::unique_ptr<std::byte[]> stack_;
};

}  // namespace lfm::gpu::emulation
