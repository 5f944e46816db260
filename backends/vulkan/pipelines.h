// Pipelines, made once for each kernel. All share one layout: 128 bytes of push constants and nothing else.
#pragma once

#include <volk.h>

#include <array>
#include <map>
#include <string_view>
#include <tuple>

#include "backends/vulkan/gpu.h"
#include "backends/vulkan/recorder.h"

namespace lfm::vulkan {

class Pipelines {
public:
    Pipelines(Gpu& gpu, ActivationKind activations);
    Pipelines(const Pipelines&) = delete;
    Pipelines& operator=(const Pipelines&) = delete;
    ~Pipelines();

    /// Compiles at the first call for a kernel.
    VkPipeline of(const Kernel& kernel);
    VkPipelineLayout layout() const { return layout_; }

private:
    using Key = std::tuple<std::string_view, std::uint32_t, std::array<std::uint32_t, Kernel::kMaxConstants>>;
    VkPipeline make(const Kernel& kernel);

    Gpu& gpu_;
    ActivationKind activations_;
    VkPipelineLayout layout_ = VK_NULL_HANDLE;
    std::map<Key, VkPipeline> made_;
};

}  // namespace lfm::vulkan
