// Round values along an axis.
#pragma once

#include <string>
#include <vector>

namespace lfm::tools {

struct Tick {
    double at = 0;  // in the axis' own unit
    std::string label;
};

/// From 0 to `end`, at most about five.
std::vector<Tick> number_ticks(double end);  // steps of 1, 2 or 5 times a power of ten
std::vector<Tick> byte_ticks(double end);    // steps of powers of two: "4 GiB"
std::vector<Tick> second_ticks(double end);  // as numbers, of ms or µs

/// Powers of two from `begin` to `end`, at most about six.
std::vector<Tick> doubling_ticks(double begin, double end);

}  // namespace lfm::tools
