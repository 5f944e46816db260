#include "backends/cpu/kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace lfm::cpu {

#if defined(__x86_64__)
namespace {

bool has_f16c() {  // a name that clang's __builtin_cpu_supports does not know
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

}  // namespace

CpuFeatures cpu_features() {
    // The compiler's own check also asks whether the system saves the wide registers.
    __builtin_cpu_init();
    CpuFeatures features;
    features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
    return features;
}
#elif defined(__aarch64__) && defined(__linux__)
CpuFeatures cpu_features() { return {.neon_dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0}; }
#else
CpuFeatures cpu_features() { return {}; }
#endif

}  // namespace lfm::cpu
