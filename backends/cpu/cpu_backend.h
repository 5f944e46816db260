// The CPU as a device: programs are recorded operations, replayed by the threads of the current oneTBB arena.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/cpu/kernels/kernels.h"
#include "memory/ledger.h"

namespace lfm::cpu {

struct CpuOptions {
    const Kernels* kernels = nullptr;  // null: the fastest here
    std::uint32_t n_threads = 1;
    BackendLimits limits;
    DeviceId self = kHost;  // whose experts it computes
};

/// `ledger` must outlive the backend, which runs one program at a time: on the thread that submits it and its arena.
/// With ExpertSet::kStaged it computes the staged experts, else those of `self` that are not staged.
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options, Ledger& ledger);

}  // namespace lfm::cpu
