// What the shared cases leave out of qk_norm_rope and kv_append: heads of other sizes, and blocks with NaN or infinity.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "memory/blocks.h"
#include "tests/backends/gpu/kernel_backend.h"
#include "tests/backends/operation_cases/run_case.h"

namespace lfm::gpu::test {
namespace {

using namespace operation_cases;

class GpuMixers : public KernelTest {};
INSTANTIATE_TEST_SUITE_P(Threads, GpuMixers, kBothOrders, order_name);

TEST_P(GpuMixers, HeadsOfAnySizeAreNormedAndRotated) {
    KernelBackend backend(kLimits, {});
    HostPlace place;
    Bed bed(backend, place, Bars::gpu(), DeviceId{1});
    GroupTally tally;
    for (const std::uint32_t head_dim : {2u, 36u, 66u, 96u, 126u}) {
        SCOPED_TRACE(head_dim);
        bed.start_case(3);
        run_case(bed, QkNormRopeCase{.head_dim = head_dim, .n_head = 5, .n_head_kv = 2, .n_tokens = 3, .position = 9},
                 tally);
    }
}

TEST_P(GpuMixers, ABlockWithAnInfinityOrNaNHasAScaleOfNaN) {
    constexpr std::uint32_t kColumns = 7 * 32;
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    Noise noise(1);
    std::vector<float> x = noise.values(kColumns);
    x[32 + 31] = kInfinity;
    x[2 * 32] = -kInfinity;
    x[3 * 32 + 7] = NAN;
    x[3 * 32 + 8] = kInfinity;
    std::fill_n(x.begin() + 4 * 32, 32, -0.0f);
    std::fill_n(x.begin() + 5 * 32, 32, -1e-42f);
    x[6 * 32 + 1] = 3e38f;  // a scale that no f16 holds
    KernelBackend backend({.n_batch = 1, .n_ctx = 1}, {});
    HostPlace place;
    Bed bed(backend, place, Bars::gpu(), DeviceId{1});
    bed.start_case(1);
    const std::size_t bytes = row_bytes(DType::kQ8_0, kColumns);
    const KvView cache{bed.room<std::byte>(bytes), bed.room<std::byte>(bytes), DType::kQ8_0, DType::kQ8_0, 1, kColumns};
    float* rows = bed.put(x);
    bed.run({KvAppendArgs{.k = {rows, kColumns}, .v = {rows, kColumns}, .cache = cache}});
    std::array<BlockQ8_0, 7> blocks;
    static_assert(sizeof blocks == kColumns / 32 * 34);
    std::memcpy(blocks.data(), bed.get(cache.v, bytes).data(), bytes);
    const auto levels = [&](std::size_t i) { return std::vector<int>(blocks[i].qs, blocks[i].qs + 32); };
    const std::vector<int> none(32, 0);
    EXPECT_NE(levels(0), none);
    for (const std::size_t i : {1, 2, 3}) {
        EXPECT_EQ(blocks[i].d, 0x7e00) << i;
        EXPECT_EQ(levels(i), none) << i;
    }
    EXPECT_EQ(blocks[4].d, 0);
    EXPECT_EQ(levels(4), none);
    EXPECT_EQ(blocks[5].d, 0);
    EXPECT_EQ(blocks[6].d, 0x7c00);
    EXPECT_EQ(blocks[6].qs[1], 127);
}

}  // namespace
}  // namespace lfm::gpu::test
