// Operations as the GPU backend lowers them, their kernels run by the emulation on memory of the test: operands may end
// where an unreadable page begins, and tests choose what the lowering knows of the device.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/device/step_image.h"
#include "backends/gpu/emulation/machine.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/gpu/emulation/schedule.h"
#include "backends/gpu/operations/fusion.h"
#include "backends/gpu/operations/operations.h"
#include "tests/backends/cpu/guarded.h"

namespace lfm::gpu::test {

class KernelBackend : public Backend {
public:
    KernelBackend(const BackendLimits& limits, const DeviceTraits& traits) : limits_(limits), traits_(traits) {
        EXPECT_EQ(api::create_stream(&stream_), api::kSuccess);
    }
    ~KernelBackend() override { api::destroy_stream(stream_); }

    std::string_view name() const override { return "kernels alone"; }
    bool supports(DType) const override { return false; }

    /// Later steps must be of the class (StepClass) that `params` have now.
    ProgramId add_program(std::span<const Operation> operations, const StepParams& params) override {
        ScratchSizes sizes(limits_);
        for (const Operation& operation : operations)
            std::visit([&](const auto& args) { reserve(sizes, args); }, operation);
        StepNeeds needs;
        for (const Operation& operation : operations) needs.include(operation);
        Program program{.params = &params, .image = std::make_unique<StepImage>(limits_, needs, 0)};
        program.step.resize(program.image->size() / sizeof(std::uint64_t));
        program.tickets.resize(kMostTickets);
        program.scratch = std::make_unique<lfm::test::Guarded<std::byte>>(sizes.total());
        std::ranges::fill(program.scratch->span(), std::byte{0xff});  // NaN
        Recorder recorder({.step_class = class_of(fill(program)),
                           .step = reinterpret_cast<const Step*>(program.step.data()),
                           .tickets = program.tickets.data(),
                           .scratch = &sizes,
                           .scratch_address = program.scratch->data(),
                           .traits = traits_},
                          program.launches);
        lower_all(recorder, operations);
        programs_.push_back(std::move(program));
        return {static_cast<std::uint32_t>(programs_.size() - 1)};
    }
    /// Keeps the program: tests look at it after it ran.
    void forget_program(ProgramId) noexcept override {}
    void submit(ProgramId id) override {
        Program& program = programs_.at(id.value);
        const StepHeader header = fill(program);
        for (const Launch& launch : program.launches) {
            const GroupCounts groups{groups_in(launch.grid.x, header), groups_in(launch.grid.y, header),
                                     groups_in(launch.grid.z, header)};
            if (groups.x * groups.y * groups.z == 0) continue;
            EXPECT_EQ(api::launch(launch.kernel, groups, launch.push, stream_, Start::kEarly), api::kSuccess)
                << launch.kernel.name;
        }
    }
    void wait() override { EXPECT_EQ(api::synchronize_stream(stream_), api::kSuccess); }

    std::vector<std::string> kernels_of(ProgramId id) const {
        std::vector<std::string> names;
        for (const Launch& launch : programs_.at(id.value).launches) names.emplace_back(launch.kernel.name);
        return names;
    }

    /// The grid of its first launch.
    const Grid& grid_of(ProgramId id) const { return programs_.at(id.value).launches.front().grid; }

private:
    struct Program {
        const StepParams* params;
        std::unique_ptr<StepImage> image;
        std::vector<std::uint64_t> step;
        std::vector<std::uint32_t> tickets;
        std::unique_ptr<lfm::test::Guarded<std::byte>> scratch;
        std::vector<Launch> launches;
    };

    /// Tokens, rope and forced experts stay where the test has them.
    static StepHeader fill(Program& program) {
        auto* const to = reinterpret_cast<std::byte*>(program.step.data());
        program.image->fill(to, reinterpret_cast<std::uint64_t>(to), *program.params);
        auto& step = *reinterpret_cast<Step*>(to);
        step.token_ids = program.params->token_ids;
        step.rope = program.params->rope;
        step.forced_experts = program.params->forced_experts;
        StepHeader header;
        std::memcpy(&header, to, sizeof header);
        return header;
    }

    BackendLimits limits_;
    DeviceTraits traits_;
    api::Stream stream_{};
    std::vector<Program> programs_;
};

/// Threads run forward in one test and in reverse in the next; what the emulation reports fails it.
class KernelTest : public testing::TestWithParam<emulation::Order> {
protected:
    void SetUp() override {
        emulation::reset_machine();
        emulation::set_order(GetParam());
    }
    void TearDown() override {
        EXPECT_EQ(emulation::take_reports(), std::vector<std::string>{});
        emulation::reset_machine();
    }
};

inline const auto kBothOrders = testing::Values(emulation::Order::kForward, emulation::Order::kReverse);
inline std::string order_name(const testing::TestParamInfo<emulation::Order>& at) {
    return at.param == emulation::Order::kForward ? "forward" : "reverse";
}

}  // namespace lfm::gpu::test
