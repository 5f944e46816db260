// The kernels of each weight type.
#include "backends/gpu/kernels/matmul.h"

namespace lfm::gpu {

// Each in weights/TYPE.cu.
MatmulKernels f32_kernels();
MatmulKernels f16_kernels();
MatmulKernels q4_0_kernels();
MatmulKernels q4_1_kernels();
MatmulKernels q5_0_kernels();
MatmulKernels q5_1_kernels();
MatmulKernels q8_0_kernels();
MatmulKernels q2_k_kernels();
MatmulKernels q3_k_kernels();
MatmulKernels q4_k_kernels();
MatmulKernels q5_k_kernels();
MatmulKernels q6_k_kernels();
MatmulKernels iq4_nl_kernels();
MatmulKernels iq4_xs_kernels();
MatmulKernels bf16_kernels();
MatmulKernels mxfp4_kernels();

std::optional<MatmulKernels> matmul_kernels(DType type) {
    switch (type) {
        case DType::kF32: return f32_kernels();
        case DType::kF16: return f16_kernels();
        case DType::kQ4_0: return q4_0_kernels();
        case DType::kQ4_1: return q4_1_kernels();
        case DType::kQ5_0: return q5_0_kernels();
        case DType::kQ5_1: return q5_1_kernels();
        case DType::kQ8_0: return q8_0_kernels();
        case DType::kQ2_K: return q2_k_kernels();
        case DType::kQ3_K: return q3_k_kernels();
        case DType::kQ4_K: return q4_k_kernels();
        case DType::kQ5_K: return q5_k_kernels();
        case DType::kQ6_K: return q6_k_kernels();
        case DType::kIQ4_NL: return iq4_nl_kernels();
        case DType::kIQ4_XS: return iq4_xs_kernels();
        case DType::kBF16: return bf16_kernels();
        case DType::kMXFP4: return mxfp4_kernels();
    }
    return std::nullopt;
}

}  // namespace lfm::gpu
