// A device that refuses memory, or is given less of it later: typed errors, fewer slots, no leak, no wrong token.
#include "tests/runtime/device_faults.h"

namespace lfm::test {
namespace {

class DeviceRefusal : public DeviceFaults {};

TEST_F(DeviceRefusal, EveryAllocationRefusedInTurn) {
    const std::uint64_t n = counts([](Session&) {}).allocations;
    ASSERT_GT(n, 8u);
    for (const sim::Recurrence recurrence : {sim::Recurrence::kOnce, sim::Recurrence::kForGood})
        for (std::uint64_t i = 1; i <= n; ++i) {
            SCOPED_TRACE("allocation " + std::to_string(i) + " of " + std::to_string(n));
            const Watchdog watchdog("allocation " + std::to_string(i));
            const auto refusing = device({.refuse_allocation = i, .refusal = recurrence});
            std::string refusal;
            try {
                with_session(*refusing, options(), [](Session&) {});
                ADD_FAILURE() << "expected an error";
            } catch (const Error& error) {
                EXPECT_EQ(error.code(), ErrorCode::kShortfall) << error.what();
                refusal = error.what();
            }
            expect_no_leak(*refusing);
            // A device keeps the programs of a session that is gone, so a session that came to recording ends its use.
            const bool recorded = refusal.find("scratch") != std::string::npos;
            refusing->inject({});
            const auto fresh = recorded ? device({}) : nullptr;
            with_session(recorded ? *fresh : *refusing, options(),
                         [&](Session& session) { EXPECT_LE(nmse(run(session), on_host()), 1e-9); });
        }
}

TEST_F(DeviceRefusal, ASmallerBudgetTakesSlotsAndNoToken) {
    Bytes used;
    {
        const auto sound = device({});
        with_session(*sound, options(), [&](Session&) { used = sound->allocated(); });
    }
    const std::uint64_t n_steps = counts([](Session& session) { run(session); }).steps;
    for (std::uint64_t step = 1; step <= n_steps; ++step)
        for (const Bytes shrunk : {Bytes{used.value - 1}, Bytes{}}) {
            SCOPED_TRACE("step " + std::to_string(step) + ", " + format_bytes(shrunk));
            const Watchdog watchdog("step " + std::to_string(step));
            const auto shrinking = device({.shrink_at_step = step, .shrunk_budget = shrunk});
            with_session(*shrinking, options(), [&](Session& session) {
                EXPECT_LE(nmse(run(session), on_host()), 1e-9);
                EXPECT_FALSE(session.loss());
                EXPECT_EQ(shrinking->budget(), shrunk);
                if (step == n_steps) return;  // seen at the step after
                EXPECT_GT(session.engine().totals().given_up, Bytes{});
                if (shrunk.value > 0) {
                    EXPECT_LE(shrinking->allocated(), shrunk);
                }
            });
            expect_no_leak(*shrinking);
        }
}

}  // namespace
}  // namespace lfm::test
