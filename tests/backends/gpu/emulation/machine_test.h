// A stream of the emulated machine, new for each test, and helpers for tests of kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "backends/gpu/emulation/faults.h"
#include "backends/gpu/emulation/machine.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/gpu/emulation/schedule.h"
#include "backends/gpu/platform/api.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu::test {

using api::Status;

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kHasAddressSanitizer = true;
#else
inline constexpr bool kHasAddressSanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kHasThreadSanitizer = true;
#else
inline constexpr bool kHasThreadSanitizer = false;
#endif
inline constexpr bool kHasSanitizer = kHasAddressSanitizer || kHasThreadSanitizer;

/// Device memory, which the emulation lets the host read.
template <typename T>
class DeviceArray {
public:
    explicit DeviceArray(std::size_t n) : n_(n) {
        void* memory = nullptr;
        EXPECT_EQ(api::allocate(&memory, n * sizeof(T)), api::kSuccess);
        data_ = static_cast<T*>(memory);
    }
    DeviceArray(std::size_t n, T value) : DeviceArray(n) {
        for (std::size_t i = 0; i < n; ++i) data_[i] = value;
    }
    ~DeviceArray() { api::release(data_); }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;

    T* data() const { return data_; }
    T& operator[](std::size_t i) const { return data_[i]; }
    std::vector<T> values() const { return {data_, data_ + n_}; }

private:
    T* data_ = nullptr;
    std::size_t n_;
};

class MachineTest : public testing::Test {
protected:
    void SetUp() override {
        emulation::reset_machine();
        ASSERT_EQ(api::create_stream(&stream_), api::kSuccess);
    }
    void TearDown() override {
        api::destroy_stream(stream_);
        const std::vector<std::string> reports = emulation::take_reports();
        emulation::reset_machine();
        for (const std::string& each : reports) emulation::report(each);  // unclaimed_reports.cpp fails the test
    }

    api::Stream stream() const { return stream_; }

    template <typename Shared = void, typename Push>
    Status run(void (*kernel)(Push), std::uint32_t n_threads, const std::type_identity_t<Push>& push,
               const GroupCounts& groups = {}) {
        const Status launched = api::launch(make_kernel<Shared>("planted", kernel, n_threads), groups, &push, stream_);
        return launched == api::kSuccess ? api::synchronize_stream(stream_) : launched;
    }
    /// There is one report, with all of these in it.
    static void expect_only_report(std::initializer_list<const char*> parts) {
        const std::vector<std::string> reports = emulation::take_reports();
        ASSERT_EQ(reports.size(), 1u);
        for (const char* part : parts)
            EXPECT_NE(reports[0].find(part), std::string::npos) << part << " in\n" << reports[0];
    }
    /// Whether `result` gives the same with the threads in either order.
    template <typename Function>
    static bool same_in_both_orders(const Function& result) {
        emulation::set_order(emulation::Order::kForward);
        const auto forward = result();
        emulation::set_order(emulation::Order::kReverse);
        const auto reverse = result();
        emulation::set_order(emulation::Order::kForward);
        return forward == reverse;
    }

private:
    api::Stream stream_ = nullptr;
};

}  // namespace lfm::gpu::test
