#include "backends/gpu/recorder.h"

#include <algorithm>

#include "backends/device/step_image.h"
#include "backends/gpu/health.h"
#include "backends/gpu/step_area.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

constexpr std::uint32_t kMaxGroups = 65535;  // along y and z

}  // namespace

const ExpertEntry* Recorder::expert_table(const ExpertTable* table) const {
    return reinterpret_cast<const ExpertEntry*>(parts_.experts->block(table).address());
}

std::uint32_t Recorder::groups_at_once(const Kernel& kernel) const {
    int n = 0;
    require_created(api::groups_at_once(&n, kernel), kernel.name);
    return n > 0 ? static_cast<std::uint32_t>(n) : 1;
}

Launch& Recorder::add(const Kernel& kernel, std::size_t push_bytes, const Grid& grid) {
    if (kernel.function == nullptr || push_bytes != kernel.push_bytes)
        throw Error(ErrorCode::kUsage, kernel.name,
                    "expected arguments of " + std::to_string(kernel.push_bytes) + " bytes, found " +
                        std::to_string(push_bytes));
    const std::uint64_t most = std::max(most_groups(grid.y, limits()), most_groups(grid.z, limits()));
    if (most > kMaxGroups)
        throw Error(ErrorCode::kUnsupportedModel, kernel.name,
                    "expected at most 65535 groups along an axis, found " + std::to_string(most));
    require_created(api::load(kernel), kernel.name);
    return launches_.emplace_back(Launch{.kernel = kernel, .grid = grid});
}

}  // namespace lfm::gpu
