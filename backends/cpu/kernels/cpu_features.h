// What this machine's processor can do. Compiled without instruction-set flags, so it may run anywhere.
#pragma once

namespace lfm::cpu {

struct CpuFeatures {
    bool avx2 = false;      // with FMA and F16C
    bool avx512 = false;    // F, BW, DQ, VL and VNNI
    bool neon_dot = false;  // ARM's dot products
};

CpuFeatures cpu_features();

}  // namespace lfm::cpu
