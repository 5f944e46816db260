#include "tools/html/axis.h"

#include <cmath>
#include <cstdio>

#include "tools/html/text.h"

namespace lfm::tools {
namespace {

constexpr double kMost = 5;

std::string plain(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.10g", value);
    return text;
}

std::vector<Tick> stepped(double end, double step, double unit, const std::string& unit_name) {
    std::vector<Tick> ticks;
    // A little beyond the end, so that rounding does not lose the last one.
    for (int i = 0; i * step <= end * (1 + 1e-9); ++i)
        ticks.push_back({i * step, i == 0 ? "0" : plain(i * step / unit) + unit_name});
    return ticks;
}

/// The smallest step of 1, 2 or 5 times a power of ten that gives few enough.
double decimal_step(double end) {
    const double power = std::pow(10, std::floor(std::log10(end / kMost)));
    for (const double factor : {1.0, 2.0, 5.0})
        if (end / (factor * power) <= kMost) return factor * power;
    return 10 * power;
}

/// On an axis of nearly no length the steps could round to zero.
bool has_length(double end) { return std::isfinite(end) && end > 1e-12; }

}  // namespace

std::vector<Tick> number_ticks(double end) {
    if (!has_length(end)) return {{0, "0"}};
    return stepped(end, decimal_step(end), 1, "");
}

std::vector<Tick> byte_ticks(double end) {
    if (!has_length(end)) return {{0, "0"}};
    const double step = std::exp2(std::ceil(std::log2(end / kMost)));
    static constexpr const char* kNames[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    int unit = 0;
    while (unit < 4 && end >= std::exp2(10 * (unit + 1))) ++unit;
    return stepped(end, step, std::exp2(10 * unit), kNames[unit]);
}

std::vector<Tick> second_ticks(double end) {
    if (!has_length(end)) return {{0, "0"}};
    const double unit = end >= 1e-3 ? 1e-3 : 1e-6;
    return stepped(end, decimal_step(end), unit, end >= 1e-3 ? " ms" : " µs");
}

std::vector<Tick> doubling_ticks(double begin, double end) {
    std::vector<Tick> ticks;
    if (!has_length(begin) || !has_length(end)) return ticks;
    const int first = static_cast<int>(std::ceil(std::log2(begin) - 1e-9));
    const int last = static_cast<int>(std::floor(std::log2(end) + 1e-9));
    const int step = 1 + (last - first) / 6;
    for (int power = last; power >= first; power -= step)
        ticks.push_back({std::exp2(power), power < 0 || power > 62 ? "" : count(std::uint64_t{1} << power)});
    return ticks;
}

}  // namespace lfm::tools
