// Where the golden data lies. Tests that need it skip when it is absent.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>

namespace lfm::test {

/// $LFM_GOLDEN, else shared/golden beside the checkout; nothing when that is no folder.
inline std::optional<std::filesystem::path> golden_dir() {
    std::filesystem::path dir;
    if (const char* chosen = std::getenv("LFM_GOLDEN")) dir = chosen;
#ifdef LFM_SOURCE_DIR
    else
        dir = std::filesystem::path(LFM_SOURCE_DIR "/../shared/golden").lexically_normal();
#endif
    std::error_code error;
    return std::filesystem::is_directory(dir, error) ? std::optional(dir) : std::nullopt;
}

}  // namespace lfm::test
