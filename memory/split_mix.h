// SplitMix64 (Steele, Lea and Flood 2014): the same numbers on every machine. The state is a counter, so a stream can
// begin at any position.
#pragma once

#include <cstdint>

namespace lfm {

inline constexpr std::uint64_t kSplitMixStep = 0x9e3779b97f4a7c15u;

/// The next 64 random bits; moves the state on.
constexpr std::uint64_t split_mix(std::uint64_t& state) {
    std::uint64_t z = state += kSplitMixStep;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

}  // namespace lfm
