// The NEON kernels, with the dot-product instructions of ARMv8.2. This folder's files are compiled with
// -march=armv8.2-a+dotprod, under the rule of avx2/kernels.h; neon/available.cpp without.
#pragma once

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/streams.h"

namespace lfm::cpu::neon {

void matmul_f32(const MatmulTile& tile);
void matmul_f16(const MatmulTile& tile);
void matmul_bf16(const MatmulTile& tile);
void matmul_q4_0(const MatmulTile& tile);
void matmul_q4_1(const MatmulTile& tile);
void matmul_q5_0(const MatmulTile& tile);
void matmul_q5_1(const MatmulTile& tile);
void matmul_q8_0(const MatmulTile& tile);
void matmul_q2_k(const MatmulTile& tile);
void matmul_q3_k(const MatmulTile& tile);
void matmul_q4_k(const MatmulTile& tile);
void matmul_q5_k(const MatmulTile& tile);
void matmul_q6_k(const MatmulTile& tile);
void matmul_iq4_nl(const MatmulTile& tile);
void matmul_iq4_xs(const MatmulTile& tile);
void matmul_mxfp4(const MatmulTile& tile);
void quantise(const float* x, std::size_t n, ActivationBlock* to);
MultiplyStream multiply_stream(DType type);

}  // namespace lfm::cpu::neon
