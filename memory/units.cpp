#include "memory/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace lfm {

std::optional<Bytes> parse_bytes(std::string_view text) {
    double number = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (status != std::errc{} || !(number >= 0)) return std::nullopt;
    std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
    double factor = 1;
    if (!unit.empty()) {
        constexpr std::string_view kLetters = "KMGT";
        const auto power = kLetters.find(unit.front());
        if (power != std::string_view::npos) {
            factor = std::ldexp(1.0, 10 * (static_cast<int>(power) + 1));
            unit.remove_prefix(1);
            if (unit == "iB" || unit == "B") unit = {};
        } else if (unit == "B") {
            unit = {};
        }
    }
    if (!unit.empty()) return std::nullopt;
    const double bytes = number * factor;
    if (!(bytes < 0x1p63)) return std::nullopt;
    return Bytes{static_cast<std::uint64_t>(bytes)};
}

std::string format_bytes(Bytes bytes) {
    static constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
    double number = static_cast<double>(bytes.value);
    std::size_t unit = 0;
    while (number >= 1000 && unit + 1 < kUnits.size()) {
        number /= 1024;
        ++unit;
    }
    const int decimals = unit == 0 || number >= 100 ? 0 : number >= 10 ? 1 : 2;
    char text[32];
    std::snprintf(text, sizeof text, "%.*f %s", decimals, number, kUnits[unit]);
    return text;
}

}  // namespace lfm
