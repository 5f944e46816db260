// The loop of a multiply_stream (streams.h), for every instruction set.
#pragma once

#include <cstdint>

namespace lfm::cpu {
namespace {  // a copy per instruction set: a linker would keep one for all

/// step(sum) for kChains independent sums in turn, so that latency does not show. `step` must keep its sum from being
/// optimised away.
template <class Vector, int kChains, class Step>
[[gnu::always_inline]] inline void run_chains(std::uint64_t rounds, const Step& step) {
    Vector sums[kChains] = {};
    for (std::uint64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
        for (Vector& sum : sums) step(sum);
    }
}

}  // namespace
}  // namespace lfm::cpu
