// What a PNG file shows, pixel by pixel.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace lfm::test {

struct Colour {
    std::uint8_t red = 0, green = 0, blue = 0;
    bool operator==(const Colour&) const = default;

    /// As drawn: a browser may round each part by a little.
    bool is_near(Colour other) const {
        return std::abs(red - other.red) <= 3 && std::abs(green - other.green) <= 3 && std::abs(blue - other.blue) <= 3;
    }
};

struct Picture {
    int width = 0, height = 0;
    std::vector<Colour> pixels;  // [height, width]

    const Colour& at(int x, int y) const { return pixels[static_cast<std::size_t>(y) * width + x]; }
};

/// Whether this build can read PNG files (Debian package libstb-dev).
bool can_read_png();

/// Nothing when it is no PNG file.
std::optional<Picture> read_png(const std::string& path);

}  // namespace lfm::test
