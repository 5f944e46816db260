#include "memory/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace lfm {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// 1024 for "KiB", "kb" and "K"; nothing for what is no unit.
std::optional<double> unit_factor(std::string_view unit) {
    if (unit == "B" || unit == "b") return 1;
    constexpr std::string_view kLetters = "kmgt";
    const auto power = unit.empty() ? std::string_view::npos : kLetters.find(lower(unit.front()));
    if (power == std::string_view::npos) return std::nullopt;
    unit.remove_prefix(1);
    for (const char letter : {'i', 'b'})
        if (!unit.empty() && lower(unit.front()) == letter) unit.remove_prefix(1);
    if (!unit.empty()) return std::nullopt;
    return std::ldexp(1.0, 10 * (static_cast<int>(power) + 1));
}

}  // namespace

std::optional<Bytes> parse_bytes(std::string_view text) {
    double number = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (status != std::errc{} || text.starts_with('-') || !(number >= 0)) return std::nullopt;
    std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
    if (unit.empty() && number == 0) return Bytes{};
    if (unit.starts_with(' ')) unit.remove_prefix(1);
    const auto factor = unit_factor(unit);
    if (!factor || !(number * *factor < 0x1p63)) return std::nullopt;
    return Bytes{static_cast<std::uint64_t>(number * *factor)};
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
