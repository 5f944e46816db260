// The compiled shaders, embedded at build time (CMakeLists.txt writes shader_table.cpp).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace lfm::vulkan {

struct ShaderCode {
    std::string_view name;
    std::span<const std::uint32_t> words;  // SPIR-V
};

std::span<const ShaderCode> all_shaders();

}  // namespace lfm::vulkan
