// The AVX-512 kernels, with the vector neural network instructions (VNNI). This folder's files are compiled with
// -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mf16c, under the rule of avx2/kernels.h;
// avx512/available.cpp without.
#pragma once

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/streams.h"

#ifdef LFM_AVX512_SIMDE  // intrinsics.h
#define LFM_AVX512_NAMESPACE avx512_simde
#else
#define LFM_AVX512_NAMESPACE avx512
#endif

namespace lfm::cpu::LFM_AVX512_NAMESPACE {

void matmul_f32(const MatmulTile& tile);
void matmul_f16(const MatmulTile& tile);
void matmul_bf16(const MatmulTile& tile);
void matmul_q4_0(const MatmulTile& tile);
void matmul_q8_0(const MatmulTile& tile);
void matmul_q4_k(const MatmulTile& tile);
void matmul_q5_k(const MatmulTile& tile);
void matmul_q6_k(const MatmulTile& tile);
MultiplyStream multiply_stream(DType type);

}  // namespace lfm::cpu::LFM_AVX512_NAMESPACE
