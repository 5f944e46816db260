// Quantities that must not be confused: bytes, layers, experts, devices.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lfm {

struct Bytes {
    std::uint64_t value = 0;
    constexpr auto operator<=>(const Bytes&) const = default;
    constexpr Bytes& operator+=(Bytes other) { return value += other.value, *this; }
    constexpr Bytes& operator-=(Bytes other) { return value -= other.value, *this; }
    friend constexpr Bytes operator+(Bytes a, Bytes b) { return {a.value + b.value}; }
};

struct LayerId {
    std::uint32_t value = 0;
    constexpr auto operator<=>(const LayerId&) const = default;
};

struct DeviceId {
    std::uint8_t value = 0;
    constexpr auto operator<=>(const DeviceId&) const = default;
};
inline constexpr DeviceId kHost{0};

struct ExpertId {
    LayerId layer;
    std::uint32_t index = 0;
    constexpr auto operator<=>(const ExpertId&) const = default;
};

/// "16GiB", "16gib", "16G", "16 GiB", "16000MiB", "512K", "123B", "0". Powers of 1024. Nothing when it is not a size: a
/// number without a unit is none, as nobody means eight bytes by "8".
std::optional<Bytes> parse_bytes(std::string_view text);

/// "13.5 GiB", "480 KiB": for people, three figures.
std::string format_bytes(Bytes bytes);

}  // namespace lfm
