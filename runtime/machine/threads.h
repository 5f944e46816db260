// What computes here: the processor, its cores, and how many threads by default.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lfm {

/// One per physical core this process may use; on hybrid processors the fast cores only; never more than the
/// quota of the cgroups around it keeps busy. At least one.
std::uint32_t default_thread_count();

/// The system's number of one processor of each such core; empty when the system does not say.
std::vector<std::uint32_t> core_processors();

/// As the system calls it ("AMD EPYC 7763 64-Core Processor"); "unknown" when it does not say.
std::string processor_name();

struct ProcessorLayout {
    std::uint32_t n_cores = 1;      // physical, that this process may use
    std::uint64_t cache_bytes = 0;  // of the last level, all of them together; 0: not known
};
ProcessorLayout processor_layout();

}  // namespace lfm
