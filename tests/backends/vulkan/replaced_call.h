// Replaces a Vulkan function for the lifetime of an object, to count calls or to make them fail.
#pragma once

#include <volk.h>

#include <utility>

namespace lfm::test {

template <typename Function>
class ReplacedCall {
public:
    ReplacedCall(Function& function, Function other) : function_(function), real_(std::exchange(function, other)) {}
    ReplacedCall(const ReplacedCall&) = delete;
    ReplacedCall& operator=(const ReplacedCall&) = delete;
    ~ReplacedCall() { function_ = real_; }

    Function real() const { return real_; }

private:
    Function& function_;
    Function real_;
};

/// Whether the allocation imports host memory and so takes none of the device's.
inline bool imports_memory(const VkMemoryAllocateInfo& info) {
    for (auto* at = static_cast<const VkBaseInStructure*>(info.pNext); at != nullptr; at = at->pNext)
        if (at->sType == VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT) return true;
    return false;
}

}  // namespace lfm::test
