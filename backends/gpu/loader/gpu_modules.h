// The program's side of the modules: finds them beside it and opens them. Without one, its backend has no devices.
#pragma once

#include <string>
#include <vector>

#include "backends/gpu/module.h"

namespace lfm::gpu {

struct FoundModule {
    const Module* module = nullptr;  // null: there is none
    std::string why_none;            // "not built in", "libamdhip64.so.5: cannot open …"
};

/// `backend`: "cuda", "hip"; "emulated32", "emulated64" where tests are built. Looks for lfm-BACKEND.so beside
/// liblfm_memory.so; opened once and kept, since drivers cannot be unloaded safely. Thread-safe.
const FoundModule& find_module(const std::string& backend);

}  // namespace lfm::gpu
