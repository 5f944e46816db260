// The AVX2 kernels, one file per theme. This folder's files are compiled with -mavx2 -mfma -mf16c: they call no inline
// function of another header (its AVX2 copy could win at link time and run on a machine without it).
// avx2/available.cpp, which chooses, and everything else is compiled without.
#pragma once

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/streams.h"

namespace lfm::cpu::avx2 {

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
void swiglu(const float* gate, const float* up, float* y, std::size_t n);
/// head_dim a multiple of 8.
void attend(const AttendTile& tile);
MultiplyStream multiply_stream(DType type);

}  // namespace lfm::cpu::avx2
