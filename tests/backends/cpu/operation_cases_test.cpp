// The shared operation cases on every kernel table of the CPU.
#include <tuple>

#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "tests/backends/operation_cases/run_case.h"
#include "tests/backends/operation_cases/run_nan.h"

namespace lfm::operation_cases {
namespace {

class CpuOperationCases : public testing::TestWithParam<std::tuple<std::string, const cpu::Kernels*>> {
protected:
    const cpu::Kernels& kernels() const { return *std::get<1>(GetParam()); }

    Ledger ledger_;
    std::unique_ptr<Backend> backend_ =
        cpu::make_cpu_backend({.kernels = &kernels(), .n_threads = 2, .limits = kLimits}, ledger_);
};

INSTANTIATE_TEST_SUITE_P(
    All, CpuOperationCases,
    testing::Combine(testing::ValuesIn(group_names()),
                     testing::ValuesIn(cpu::available_kernels().begin(), cpu::available_kernels().end())),
    [](const auto& at) { return std::get<0>(at.param) + "_" + std::string(std::get<1>(at.param)->name); });

TEST_P(CpuOperationCases, MeetTheBars) {
    const bool is_exact = &kernels() == &cpu::exact_kernels();
    const Bars bars = Bars::cpu(is_exact ? reference::Activations::kPlain : reference::Activations::kQuantised);
    HostPlace place;
    Bed bed(*backend_, place, bars, kHost);
    const std::vector<Group> all = groups();
    group_called(all, std::get<0>(GetParam())).run(bed, *backend_);
}

TEST(CpuOperationCases, NaNSpreads) {
    for (const cpu::Kernels* kernels : cpu::available_kernels()) {
        SCOPED_TRACE(kernels->name);
        Ledger ledger;
        const auto backend = cpu::make_cpu_backend({.kernels = kernels, .n_threads = 2, .limits = kLimits}, ledger);
        HostPlace place;
        Bed bed(*backend, place, Bars::cpu(reference::Activations::kQuantised), kHost);
        check_that_nan_spreads(bed);
    }
}

TEST(CpuOperationCases, AreMoreThanAThousand) {
    Ledger ledger;
    for (const cpu::Kernels* kernels : cpu::available_kernels()) {
        const auto backend = cpu::make_cpu_backend({.kernels = kernels, .limits = kLimits}, ledger);
        std::cout << kernels->name << ": " << n_cases(*backend) << " cases\n";
        EXPECT_GE(n_cases(*backend), 1000u) << kernels->name;
    }
}

}  // namespace
}  // namespace lfm::operation_cases
