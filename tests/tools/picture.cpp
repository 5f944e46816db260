#include "tests/tools/picture.h"

#ifdef LFM_HAS_STB_IMAGE
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop
#endif

namespace lfm::test {

#ifdef LFM_HAS_STB_IMAGE

bool can_read_png() { return true; }

std::optional<Picture> read_png(const std::string& path) {
    Picture picture;
    int n_channels = 0;
    unsigned char* bytes = stbi_load(path.c_str(), &picture.width, &picture.height, &n_channels, 3);
    if (bytes == nullptr) return std::nullopt;
    picture.pixels.resize(static_cast<std::size_t>(picture.width) * picture.height);
    for (std::size_t i = 0; i < picture.pixels.size(); ++i)
        picture.pixels[i] = {bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2]};
    stbi_image_free(bytes);
    return picture;
}

#else

bool can_read_png() { return false; }

std::optional<Picture> read_png(const std::string&) { return std::nullopt; }

#endif

}  // namespace lfm::test
