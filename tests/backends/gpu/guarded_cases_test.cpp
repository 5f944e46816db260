// The shared cases of the operations without weights, on operands that end where an unreadable page begins.
#include "tests/backends/gpu/kernel_backend.h"
#include "tests/backends/operation_cases/run_case.h"
#include "tests/backends/operation_cases/run_nan.h"

namespace lfm::gpu::test {
namespace {

using namespace operation_cases;

class GpuGuardedCases : public KernelTest {
protected:
    /// Runs one of `every` cases of the group, on plain loops and on tiles.
    void run(const std::string& name, std::size_t every) {
        for (const bool multiplies_tiles : {false, true}) {
            KernelBackend backend(kLimits, {.n_processors = 30, .multiplies_tiles = multiplies_tiles});
            HostPlace place;
            Bed bed(backend, place, Bars::gpu(), DeviceId{1});
            const std::vector<Group> all = groups();
            const Part part{.first = multiplies_tiles ? every / 2 : 0, .every = every};
            group_called(all, name).run(bed, backend, part);
        }
    }
};
INSTANTIATE_TEST_SUITE_P(Threads, GpuGuardedCases, kBothOrders, order_name);

TEST_P(GpuGuardedCases, RmsNorm) { run("rms_norm", 4); }
TEST_P(GpuGuardedCases, QkNormRope) { run("qk_norm_rope", 4); }
TEST_P(GpuGuardedCases, Attention) { run("attention", 8); }
TEST_P(GpuGuardedCases, ShortConv) { run("short_conv", 2); }
/// More taps than tokens that one thread computes, and than tokens of a step.
TEST_P(GpuGuardedCases, ShortConvWithManyTaps) {
    KernelBackend backend(kLimits, {.n_processors = 30});
    HostPlace place;
    Bed bed(backend, place, Bars::gpu(), DeviceId{1});
    GroupTally tally;
    for (const std::uint32_t cut : {1u, 2u, 7u, 100u}) {
        SCOPED_TRACE(std::to_string(cut) + " tokens at a time");
        bed.start_case(60);
        run_case(bed, ShortConvCase{.n_embd = 70, .l_cache = 13, .position = 5, .n_tokens = 60, .cut = cut, .seed = 1},
                 tally);
    }
}
TEST_P(GpuGuardedCases, Swiglu) { run("swiglu", 4); }
TEST_P(GpuGuardedCases, Add) { run("add", 4); }
TEST_P(GpuGuardedCases, Copy) { run("copy", 4); }
TEST_P(GpuGuardedCases, NaNSpreadsThroughCaches) {
    KernelBackend backend(kLimits, {.n_processors = 30});
    HostPlace place;
    Bed bed(backend, place, Bars::gpu(), DeviceId{1});
    check_that_nan_spreads(bed, std::span<const DType>());
}

}  // namespace
}  // namespace lfm::gpu::test
