#include "runtime/machine/threads.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <hwloc.h>

#include "runtime/machine/cpu_quota.h"

namespace lfm {
namespace {

struct Topology {
    hwloc_topology_t handle = nullptr;
    bool loaded = false;
    Topology() { loaded = hwloc_topology_init(&handle) == 0 && hwloc_topology_load(handle) == 0; }
    ~Topology() {
        if (handle != nullptr) hwloc_topology_destroy(handle);
    }
};

/// One logical processor of each core that this process may run on, of the fastest kind only.
std::vector<std::uint32_t> fast_cores(hwloc_topology_t topology) {
    hwloc_const_cpuset_t allowed = hwloc_topology_get_allowed_cpuset(topology);
    const std::unique_ptr<hwloc_bitmap_s, void (*)(hwloc_bitmap_t)> usable(hwloc_bitmap_dup(allowed),
                                                                           hwloc_bitmap_free);
    const std::unique_ptr<hwloc_bitmap_s, void (*)(hwloc_bitmap_t)> bound(hwloc_bitmap_alloc(), hwloc_bitmap_free);
    if (hwloc_get_cpubind(topology, bound.get(), HWLOC_CPUBIND_PROCESS) == 0)
        hwloc_bitmap_and(usable.get(), usable.get(), bound.get());
    const int n_kinds = hwloc_cpukinds_get_nr(topology, 0);
    if (n_kinds > 1) {  // kinds are sorted by rising efficiency class: the last one is the fastest
        const std::unique_ptr<hwloc_bitmap_s, void (*)(hwloc_bitmap_t)> kind(hwloc_bitmap_alloc(), hwloc_bitmap_free);
        int efficiency = -1;
        if (hwloc_cpukinds_get_info(topology, static_cast<unsigned>(n_kinds - 1), kind.get(), &efficiency, nullptr,
                                    nullptr, 0) == 0 &&
            efficiency >= 0 && hwloc_bitmap_intersects(kind.get(), usable.get()))
            hwloc_bitmap_and(usable.get(), usable.get(), kind.get());
    }
    std::vector<std::uint32_t> processors;
    for (hwloc_obj_t core = nullptr; (core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != nullptr;) {
        hwloc_bitmap_and(bound.get(), core->cpuset, usable.get());
        const int first = hwloc_bitmap_first(bound.get());
        if (first >= 0) processors.push_back(static_cast<std::uint32_t>(first));
    }
    return processors;
}

}  // namespace

std::vector<std::uint32_t> core_processors() {
    const Topology topology;
    return topology.loaded ? fast_cores(topology.handle) : std::vector<std::uint32_t>{};
}

std::uint32_t default_thread_count() {
    auto n = static_cast<std::uint32_t>(core_processors().size());
    if (n == 0) n = std::max(1u, std::thread::hardware_concurrency());
    return threads_within(cpu_quota(), n);
}

std::string processor_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("model name")) return line.substr(std::min(line.find(':') + 2, line.size()));
    return "unknown";
}

ProcessorLayout processor_layout() {
    const Topology topology;
    ProcessorLayout layout;
    const int n_cores = topology.loaded ? hwloc_get_nbobjs_by_type(topology.handle, HWLOC_OBJ_CORE) : 0;
    layout.n_cores =
        n_cores > 0 ? static_cast<std::uint32_t>(n_cores) : std::max(1u, std::thread::hardware_concurrency());
    if (!topology.loaded) return layout;
    for (const hwloc_obj_type_t level : {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE}) {
        for (hwloc_obj_t cache = nullptr;
             (cache = hwloc_get_next_obj_by_type(topology.handle, level, cache)) != nullptr;)
            layout.cache_bytes += cache->attr->cache.size;
        if (layout.cache_bytes > 0) break;
    }
    return layout;
}

}  // namespace lfm
