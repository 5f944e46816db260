#include "backends/cpu/kernels/streams.h"

#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx512/kernels.h"
#include "backends/cpu/kernels/neon/kernels.h"

namespace lfm::cpu {

MultiplyStream multiply_stream(const Kernels& kernels, DType type) {
#if defined(__x86_64__)
    if (&kernels == avx2_kernels()) return avx2::multiply_stream(type);
    if (&kernels == avx512_kernels()) return avx512::multiply_stream(type);
#elif defined(__aarch64__)
    if (&kernels == neon_kernels()) return neon::multiply_stream(type);
#endif
    (void)kernels, (void)type;
    return {};
}

}  // namespace lfm::cpu
