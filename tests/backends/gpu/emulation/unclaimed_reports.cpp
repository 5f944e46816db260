// Fails each test in which the emulation reported an error that the test did not take with take_reports().
#include <string>

#include <gtest/gtest.h>

#include "backends/gpu/emulation/reports.h"

namespace lfm::gpu::test {
namespace {

class UnclaimedReports : public testing::EmptyTestEventListener {
    void OnTestEnd(const testing::TestInfo&) override {
        for (const std::string& report : emulation::take_reports()) ADD_FAILURE() << "GPU emulation: " << report;
    }
};

[[maybe_unused]] const bool listens = [] {
    testing::UnitTest::GetInstance()->listeners().Append(new UnclaimedReports);  // which owns it
    return true;
}();

}  // namespace
}  // namespace lfm::gpu::test
