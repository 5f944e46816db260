// The processor, its cores, and the default number of threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lfm {

/// One per physical core this process may use; on hybrid processors the fast cores only; never more than the
/// quota of the process's cgroups keeps busy. At least one.
std::uint32_t default_thread_count();

/// The system's number of one logical processor of each such core, whatever the quota; empty when it does not say.
std::vector<std::uint32_t> core_processors();

/// As the system calls it ("AMD EPYC 7763 64-Core Processor"); "unknown" when it does not say.
std::string processor_name();

struct ProcessorLayout {
    std::uint32_t n_cores = 1;      // physical, within this process's cpuset
    std::uint64_t cache_bytes = 0;  // of the last level, all of them together; 0: not known
};
ProcessorLayout processor_layout();

}  // namespace lfm
