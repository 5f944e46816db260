// Types without a NEON kernel of their own: the plain one, its inner product in vectors.
#include "backends/cpu/kernels/neon/kernels.h"
#include "backends/cpu/kernels/neon/lanes.h"
#include "backends/cpu/kernels/plain_matmul.h"

namespace lfm::cpu::neon {
namespace {

struct Target {
    static float f16(std::uint16_t half) { return vgetq_lane_f32(widen_f16(vdup_n_u16(half)), 0); }

    static void dot_16(const std::int8_t* level, const std::int8_t* q, std::int32_t (&dot)[2]) {
        for (int half = 0; half < 2; ++half)
            dot[half] = vaddvq_s32(vdotq_s32(every(0), vld1q_s8(level + 16 * half), vld1q_s8(q + 16 * half)));
    }
};

}  // namespace

void matmul_q4_1(const MatmulTile& tile) { PlainMatmul<Target, BlockQ4_1>::run(tile); }
void matmul_q5_0(const MatmulTile& tile) { PlainMatmul<Target, BlockQ5_0>::run(tile); }
void matmul_q5_1(const MatmulTile& tile) { PlainMatmul<Target, BlockQ5_1>::run(tile); }
void matmul_q2_k(const MatmulTile& tile) { PlainMatmul<Target, BlockQ2_K>::run(tile); }
void matmul_q3_k(const MatmulTile& tile) { PlainMatmul<Target, BlockQ3_K>::run(tile); }
void matmul_iq4_nl(const MatmulTile& tile) { PlainMatmul<Target, BlockIQ4_NL>::run(tile); }
void matmul_iq4_xs(const MatmulTile& tile) { PlainMatmul<Target, BlockIQ4_XS>::run(tile); }
void matmul_mxfp4(const MatmulTile& tile) { PlainMatmul<Target, BlockMXFP4>::run(tile); }

}  // namespace lfm::cpu::neon
