#include "backends/vulkan/pipelines.h"

#include <algorithm>
#include <string>

#include "backends/vulkan/shader_table.h"
#include "memory/error.h"

namespace lfm::vulkan {

Pipelines::Pipelines(Gpu& gpu, ActivationKind activations) : gpu_(gpu), activations_(activations) {
    const VkPushConstantRange range{.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .offset = 0, .size = 128};
    const VkPipelineLayoutCreateInfo info{.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                          .pushConstantRangeCount = 1,
                                          .pPushConstantRanges = &range};
    require_created(vkCreatePipelineLayout(gpu_.handle(), &info, nullptr, &layout_), "vkCreatePipelineLayout");
}

Pipelines::~Pipelines() {
    for (const auto& [key, pipeline] : made_) vkDestroyPipeline(gpu_.handle(), pipeline, nullptr);
    vkDestroyPipelineLayout(gpu_.handle(), layout_, nullptr);
}

VkPipeline Pipelines::of(const Kernel& kernel) {
    const auto [place, is_new] = made_.try_emplace({kernel.shader, kernel.n_constants, kernel.constants});
    if (is_new) {
        try {
            place->second = make(kernel);
        } catch (...) {
            made_.erase(place);
            throw;
        }
    }
    return place->second;
}

VkPipeline Pipelines::make(const Kernel& kernel) {
    const auto code = std::ranges::find(all_shaders(), kernel.shader, &ShaderCode::name);
    if (code == all_shaders().end())
        throw Error(ErrorCode::kUnsupportedModel, "Vulkan backend",
                    "expected a shader named " + std::string(kernel.shader) + ", found none");
    const VkShaderModuleCreateInfo module_info{.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                               .codeSize = code->words.size_bytes(),
                                               .pCode = code->words.data()};
    VkShaderModule module = VK_NULL_HANDLE;
    require_created(vkCreateShaderModule(gpu_.handle(), &module_info, nullptr, &module), "vkCreateShaderModule");

    // The kernel's constants, and the one that the whole device shares; shaders that do not declare it ignore it.
    constexpr std::size_t kMost = Kernel::kMaxConstants + 1;
    std::array<std::uint32_t, kMost> values{};
    std::array<VkSpecializationMapEntry, kMost> entries;
    const std::uint32_t n_constants = kernel.n_constants + 1;
    for (std::uint32_t i = 0; i < n_constants; ++i) {
        const bool own = i < kernel.n_constants;
        values[i] = own ? kernel.constants[i] : activations_ == ActivationKind::kFloat ? VK_TRUE : VK_FALSE;
        entries[i] = {own ? i : Kernel::kActivations, static_cast<std::uint32_t>(i * sizeof(std::uint32_t)),
                      sizeof(std::uint32_t)};
    }
    const VkSpecializationInfo constants{.mapEntryCount = n_constants,
                                         .pMapEntries = entries.data(),
                                         .dataSize = n_constants * sizeof(std::uint32_t),
                                         .pData = values.data()};
    const VkComputePipelineCreateInfo info{.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                           .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                     .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                     .module = module,
                                                     .pName = "main",
                                                     .pSpecializationInfo = &constants},
                                           .layout = layout_};
    VkPipeline pipeline = VK_NULL_HANDLE;
    const VkResult result = vkCreateComputePipelines(gpu_.handle(), VK_NULL_HANDLE, 1, &info, nullptr, &pipeline);
    vkDestroyShaderModule(gpu_.handle(), module, nullptr);
    require_created(result, "vkCreateComputePipelines");
    return pipeline;
}

}  // namespace lfm::vulkan
