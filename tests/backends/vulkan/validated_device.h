// A Vulkan device for a test, watched by the validation layer: what the layer reports fails the test.
#pragma once

#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backends/vulkan/vulkan_device.h"
#include "memory/error.h"
#include "memory/ledger.h"
#include "tests/backends/device_work.h"

namespace lfm::test {

/// Every second piece of work by a thread of its own.
inline Workers two_threads() {
    return [](std::size_t n, const std::function<void(std::size_t)>& work) {
        const auto every_second = [&](std::size_t first) {
            for (std::size_t i = first; i < n; i += 2) work(i);
        };
        std::thread other(every_second, 1);
        every_second(0);
        other.join();
    };
}

/// Layer 1.3.239 now and then misses a vkSignalSemaphore that wakes another thread at once, waits ten seconds for its
/// own records, and reports that as a fault of its own.
inline bool is_the_layers_own(std::string_view message) {
    if (message.find("UNASSIGNED-VkSemaphore-state-timeout") == message.npos) return false;
    std::cout << "[   NOTE   ] the validation layer lost track of a semaphore\n";
    return true;
}

class ValidatedDevice : public testing::Test {
protected:
    static constexpr DeviceId kSelf{1};
    static constexpr BackendLimits kLimits{.n_batch = 8, .n_ctx = 64};

    void SetUp() override {
        std::string found = "no Vulkan driver or device";
        for (const vulkan::VulkanInfo& info : vulkan::list_devices()) {
            if (info.why_unusable.empty()) {
                index_ = info.index;
                return;
            }
            found = info.name + ": " + info.why_unusable;
        }
        GTEST_SKIP() << found;
    }

    void TearDown() override {
        const std::lock_guard lock(mutex_);
        for (const std::string& message : messages_) ADD_FAILURE() << message;
    }

    vulkan::VulkanOptions options(vulkan::Validation validation = vulkan::Validation::kCalls) {
        if (!vulkan::has_validation_layer()) {
            std::cout << "[   NOTE   ] without validation: VK_LAYER_KHRONOS_validation is not installed\n";
            validation = vulkan::Validation::kNone;
        }
        return {.index = index_,
                .id = kSelf,
                .budget = {64 << 20},
                .limits = kLimits,
                .validation = validation,
                .report = [this](std::string_view message) { add(message); }};
    }
    std::unique_ptr<Device> device(Ledger& ledger) { return vulkan::make_vulkan_device(options(), ledger); }

private:
    void add(std::string_view message) {
        if (is_the_layers_own(message)) return;
        const std::lock_guard lock(mutex_);
        if (messages_.size() < 10) messages_.emplace_back(message);
    }

    std::uint32_t index_ = 0;
    std::mutex mutex_;
    std::vector<std::string> messages_;
};

}  // namespace lfm::test
