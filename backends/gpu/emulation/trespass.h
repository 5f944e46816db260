// Threads of kernels that touch memory that is not there: as on a device, their launch ends with an error and the
// program goes on. Sanitizers see such accesses earlier and say more, so with them the process ends instead.
#pragma once

#include <cstddef>
#include <memory>

namespace lfm::gpu::emulation {

/// While it lives, the calling operating-system thread's kernels are watched.
class TrespassWatch {
public:
    TrespassWatch();
    ~TrespassWatch();
    TrespassWatch(const TrespassWatch&) = delete;
    TrespassWatch& operator=(const TrespassWatch&) = delete;

private:
    // Of the signal's handler: a thread's own may be used up.
    std::unique_ptr<std::byte[]> stack_;
};

}  // namespace lfm::gpu::emulation
