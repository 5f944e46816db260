#include "backends/gpu/kernels/choose.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

constexpr std::uint32_t kThreads = 64;

__global__ void __launch_bounds__(kThreads) route(RoutePush push) {
    begin_kernel();
    choose<kThreads>(push, group_index().x, shared_memory<ChoiceShared>());
}

}  // namespace

Kernel route_kernel() { return make_kernel<ChoiceShared>("route", route, kThreads); }

}  // namespace lfm::gpu
