// A device that is lost at each call in turn: the host goes on with the same numbers, or an error says so.
#include "tests/runtime/device_faults.h"

namespace lfm::test {
namespace {

class DeviceLoss : public DeviceFaults {};

TEST_F(DeviceLoss, EveryCallLostInTurnAndTheHostGoesOn) {
    const std::uint64_t n = counts([](Session& session) { run(session); }).calls;
    on_host();
    std::uint64_t n_load = 0, n_recovered = 0, n_late = 0;
    for (std::uint64_t i = 1; i <= n; ++i) {
        SCOPED_TRACE("call " + std::to_string(i) + " of " + std::to_string(n));
        const Watchdog watchdog("call " + std::to_string(i));
        const auto failing = device({.lose_at_call = i});
        bool loaded = false;
        try {
            with_session(*failing, options(), [&](Session& session) {
                loaded = true;
                const auto logits = run(session);
                ASSERT_EQ(logits.size(), on_host().size());
                EXPECT_LE(nmse(logits, on_host()), 1e-9);
                if (!session.loss()) {  // after the last wait, or not at all: threads may take fewer calls
                    ++n_late;
                    EXPECT_GT(i, n / 2);
                    return;
                }
                ++n_recovered;
                EXPECT_NE(session.loss()->find("lost on demand"), std::string::npos) << *session.loss();
                session.reset();  // the second request
                EXPECT_LE(nmse(run(session), on_host()), 1e-9);
            });
        } catch (const Error& error) {
            EXPECT_FALSE(loaded) << error.what();
            EXPECT_EQ(error.code(), ErrorCode::kDeviceLost) << error.what();
            ++n_load;
        }
        EXPECT_EQ(ledger_.total(kHost), Bytes{});
    }
    std::cout << n << " calls: " << n_load << " tried while loading, " << n_recovered << " recovered from, " << n_late
              << " not noticed any more\n";
    EXPECT_GT(n_load, 0u);
    EXPECT_GT(n_recovered, 10 * n_late);
}

TEST_F(DeviceLoss, EveryCallLostInTurnAndThrown) {
    const std::uint64_t n = counts([](Session& session) { run(session); }).calls;
    on_host();
    for (std::uint64_t i = 2; i <= n; i += stride()) {
        SCOPED_TRACE("call " + std::to_string(i) + " of " + std::to_string(n));
        const Watchdog watchdog("call " + std::to_string(i));
        const auto failing = device({.lose_at_call = i});
        std::vector<float> logits;
        try {
            with_session(*failing, options(AfterLoss::kThrow), [&](Session& session) {
                run(session, logits);
                EXPECT_GT(i, n / 2);  // after the last wait, as above
            });
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kDeviceLost) << error.what();
        }
        // What was handed out before is right.
        if (!logits.empty()) {
            EXPECT_LE(nmse(logits, std::span(on_host()).first(logits.size())), 1e-9);
        }
        EXPECT_EQ(ledger_.total(kHost), Bytes{});
    }
}

TEST_F(DeviceLoss, LossWhileLoadingEndsOnTheHost) {
    const std::uint64_t n = counts([](Session&) {}).calls;
    for (std::uint64_t i = 1; i <= n; ++i) {
        SCOPED_TRACE("call " + std::to_string(i) + " of " + std::to_string(n));
        const Watchdog watchdog("call " + std::to_string(i));
        std::string notes;
        Placed placed =
            place({.model = description_,
                   .session = options(),
                   .plan = plan_,
                   .open = [&](const DeviceOptions&) { return device({.lose_at_call = i}); },
                   .load = [&](const Plan& plan,
                               const DeviceLoad& to) { return Model::random(description_, plan, 3, ledger_, to); },
                   .progress = {},
                   .note = [&](const std::string& text) { notes += text; }},
                  ledger_);
        EXPECT_NE(notes.find("lost on demand"), std::string::npos) << notes;
        EXPECT_EQ(placed.device(), nullptr);
        EXPECT_LE(nmse(run(placed.session()), on_host()), 1e-9);
    }
}

TEST_F(DeviceLoss, ACheckpointOutlivesTheDevice) {
    const auto tokens = some_tokens();
    const auto failing = device({});
    with_session(*failing, options(), [&](Session& session) {
        session.append(std::span(tokens).first(10));
        const Checkpoint checkpoint = session.checkpoint();
        const auto rest = std::span(tokens).subspan(10);
        const auto logits = session.append(rest);
        const std::vector<float> expected(logits.begin(), logits.end());
        session.restore(checkpoint);
        failing->inject({.lose_at_call = failing->counts().calls + 1});
        EXPECT_LE(nmse(session.append(rest), expected), 1e-9);
        ASSERT_TRUE(session.loss());
        session.restore(checkpoint);
        EXPECT_LE(nmse(session.append(rest), expected), 1e-9);
    });
}

}  // namespace
}  // namespace lfm::test
