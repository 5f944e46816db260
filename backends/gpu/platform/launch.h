// A kernel as a value that host code launches. Included by the files that define kernels.
#pragma once

#include <cstdint>
#include <type_traits>

#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

/// `Shared` is the struct that the kernel has in shared memory; void: none.
template <typename Shared = void, typename Push>
Kernel make_kernel(const char* name, void (*function)(Push), std::uint32_t n_threads) {
    Kernel kernel{.name = name,
                  .function = reinterpret_cast<const void*>(function),
                  .call =
                      [](const void* address, const void* push) {
                          reinterpret_cast<void (*)(Push)>(const_cast<void*>(address))(*static_cast<const Push*>(push));
                      },
                  .n_threads = n_threads,
                  .push_bytes = sizeof(Push)};
    if constexpr (!std::is_void_v<Shared>) kernel.shared_bytes = sizeof(Shared);
    return kernel;
}

}  // namespace lfm::gpu
