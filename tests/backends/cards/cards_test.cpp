// The GPU backend on real cards, through its modules: the contract of devices and the shared operation cases. Without a
// card everything here skips. $LFM_EMULATED_CARD names an emulation to use as the card, in dry runs of gpu_check.sh.
#include <array>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "backends/gpu/loader/gpu_modules.h"
#include "tests/backends/device_contract.h"
#include "tests/backends/operation_cases/run_case.h"
#include "tests/backends/operation_cases/run_nan.h"

namespace lfm::test {
namespace {

namespace cases = operation_cases;

struct Card {
    const gpu::Module* module = nullptr;
    std::uint32_t index = 0;
    std::string name;
};

constexpr std::string_view kEmulated = "emulated";
constexpr std::array<std::string_view, 3> kBackends{"cuda", "hip", kEmulated};

/// The backend's first usable device; otherwise nothing, and `why` says why there is none.
std::optional<Card> card_of(std::string_view backend, std::string& why) {
    const char* const emulation = std::getenv("LFM_EMULATED_CARD");
    const bool emulated = backend == kEmulated;
    if (emulated && emulation == nullptr) {
        why = "only in dry runs";
        return std::nullopt;
    }
    const gpu::FoundModule& found = gpu::find_module(emulated ? emulation : std::string(backend));
    why = found.why_none;
    if (found.module == nullptr) return std::nullopt;
    for (const gpu::GpuInfo& info : found.module->list_devices(why)) {
        if (info.why_unusable.empty()) return Card{found.module, info.index, info.name};
        why = info.name + ": " + info.why_unusable;
    }
    return std::nullopt;
}

template <std::size_t i>
constexpr ContractDevice kCard{
    [](Ledger& ledger) {
        std::string why;
        const Card card = *card_of(kBackends[i], why);
        // The contract's budget is for what it allocates.
        const Bytes context = card.module->list_devices(why)[card.index].context;
        return card.module->open({.index = card.index, .budget = context + kContractBudget, .limits = kContractLimits},
                                 ledger);
    },
    [] {
        std::string why;
        return card_of(kBackends[i], why) ? std::string() : why;
    }};

INSTANTIATE_TEST_SUITE_P(Cards, DeviceContract, testing::Values(kCard<0>, kCard<1>, kCard<2>),
                         [](const auto& at) { return std::string(kBackends[at.index]); });

class CardOperationCases : public testing::TestWithParam<std::string> {
protected:
    /// test(device) for each backend's first card.
    template <typename Test>
    void on_each(const Test& test, ActivationKind activations = ActivationKind::kQuantised) {
        std::string reasons;
        bool any = false;
        for (const std::string_view backend : kBackends) {
            std::string why;
            const auto card = card_of(backend, why);
            reasons += std::string(backend) + ": " + why + "; ";
            if (!card) continue;
            any = true;
            SCOPED_TRACE(card->name);
            Ledger ledger;
            const auto device = card->module->open({.index = card->index,
                                                    .budget = {std::uint64_t{2} << 30},
                                                    .limits = cases::kLimits,
                                                    .activations = activations},
                                                   ledger);
            std::cout << card->name << ": ";
            test(*device);
        }
        if (!any) GTEST_SKIP() << reasons;
    }
    void run_group(ActivationKind activations) {
        const std::vector<cases::Group> all = cases::groups();
        const cases::Group& group = cases::group_called(all, GetParam());
        on_each(
            [&](Device& device) {
                cases::DevicePlace place(device);
                cases::Bars bars = cases::Bars::gpu();
                if (activations == ActivationKind::kFloat) bars.activations = cases::reference::Activations::kPlain;
                cases::Bed bed(device, place, bars, device.id());
                group.run(bed, device);
            },
            activations);
    }
};

INSTANTIATE_TEST_SUITE_P(All, CardOperationCases, testing::ValuesIn(cases::group_names()),
                         [](const auto& at) { return at.param; });
TEST_P(CardOperationCases, MeetTheBars) { run_group(ActivationKind::kQuantised); }
TEST_P(CardOperationCases, MeetTheBarsWithFloatActivations) { run_group(ActivationKind::kFloat); }

TEST_F(CardOperationCases, NaNSpreads) {
    on_each([](Device& device) {
        cases::DevicePlace place(device);
        cases::Bed bed(device, place, cases::Bars::gpu(), device.id());
        check_that_nan_spreads(bed, std::array{DType::kF16, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K});
    });
}

}  // namespace
}  // namespace lfm::test
