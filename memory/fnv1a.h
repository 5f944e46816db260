// FNV-1a, 64 bits (Fowler, Noll, Vo; public domain): tells texts and files apart, is not cryptographic. Each step is a
// bijection of the state, so one changed byte always changes the result.
#pragma once

#include <cstdint>
#include <string_view>

namespace lfm {

class Fnv1a {
public:
    /// A byte, or a larger unit taken as one.
    constexpr void add(std::uint32_t unit) { state_ = (state_ ^ unit) * 0x100000001b3u; }
    constexpr void add(std::string_view bytes) {
        for (const char byte : bytes) add(std::uint32_t{static_cast<unsigned char>(byte)});
    }
    constexpr std::uint64_t value() const { return state_; }

private:
    std::uint64_t state_ = 0xcbf29ce484222325u;
};

}  // namespace lfm
