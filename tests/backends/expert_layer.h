// A layer of small experts on a device, for tests of what the shared cases leave out: tables and slots that change, ids
// that no expert has.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "tests/backends/cpu/naive_weights.h"
#include "tests/backends/cpu/random_blocks.h"
#include "tests/backends/device_operands.h"
#include "tests/nmse.h"

namespace lfm::test {

using Types = std::array<DType, 3>;  // of gate, up and down

inline constexpr DeviceId kHolder{1};

/// Small experts: the three matrices of each in one block of bytes, and their weights in f64.
struct Experts {
    static constexpr std::uint32_t kEmbd = 256, kFf = 288, kCount = 6;

    explicit Experts(const Types& of_types) : types(of_types), values(kCount) {
        Random random(5);
        for (std::uint32_t e = 0; e < kCount; ++e)
            for (std::size_t i = 0; i < 3; ++i) {
                offsets[i] = i == 0 ? 0 : (offsets[i - 1] + row_bytes(types[i - 1], kEmbd * kFf) + 15) / 16 * 16;
                const std::vector<std::byte> blocks = random_blocks(types[i], kEmbd * kFf, random);
                bytes[e].resize(offsets[i]);
                bytes[e].insert(bytes[e].end(), blocks.begin(), blocks.end());
                values[e][i] = naive_weights(types[i], blocks.data(), kEmbd * kFf);
            }
        slot_bytes = (bytes[0].size() + 15) / 16 * 16;
    }

    Types types;
    std::array<std::vector<std::byte>, kCount> bytes;
    std::vector<std::array<std::vector<double>, 3>> values;
    std::array<std::size_t, 3> offsets{};
    std::size_t slot_bytes = 0;
};

/// expert_ffn of the held and of the staged experts, recorded once and run while tables and slots change.
class Layer {
public:
    static constexpr std::uint32_t kUsed = 3;

    /// For steps of at most n_tokens.
    Layer(DeviceOperands& operands, Device& device, const Experts& experts, std::uint32_t n_tokens)
        : operands_(operands),
          experts_(experts),
          x_(operation_cases::Noise(1).activations(std::size_t{n_tokens} * Experts::kEmbd)),
          slot_of_(device.allocate(MemoryKind::kShared, Purpose::kStaging, 4 * Experts::kCount)) {
        std::vector<std::byte> slots;
        for (const auto& bytes : experts.bytes) {
            places_.push_back(operands.put(bytes));
            slots.insert(slots.end(), bytes.begin(), bytes.end());
            slots.resize(slots.size() + experts.slot_bytes - bytes.size());
        }
        operation_cases::Noise noise(2);
        for (std::uint32_t i = 0; i < n_tokens * kUsed; ++i) weights.push_back(noise.value());
        ids.resize(weights.size());
        held_ = {.x = {operands.put(x_), Experts::kEmbd},
                 .layer = {1},
                 .experts = &table,
                 .staged = {reinterpret_cast<std::int32_t*>(slot_of_.address()), operands.put(slots),
                            experts.slot_bytes, experts.offsets[1], experts.offsets[2]},
                 .gate_type = experts.types[0],
                 .up_type = experts.types[1],
                 .down_type = experts.types[2],
                 .n_ff = Experts::kFf,
                 .n_expert_used = kUsed,
                 .choice = {operands.put(ids), operands.put(weights)},
                 .out = {operands.room(x_.size()), Experts::kEmbd}};
        staged_ = held_;
        staged_.set = ExpertSet::kStaged;
        staged_.out.data = operands.room(x_.size());
        stage({});
        program_ = operands.record({held_, staged_});
    }

    void hold(std::uint32_t e, DeviceId holder) {
        const std::byte* at = places_[e];
        table.set({LayerId{1}, e}, {holder, at, at + experts_.offsets[1], at + experts_.offsets[2]});
    }
    /// Slot i holds expert i.
    void stage(const std::vector<std::uint32_t>& staged) {
        const auto slots = reinterpret_cast<std::int32_t*>(slot_of_.host().data());
        std::fill_n(slots, Experts::kCount, -1);
        for (const std::uint32_t e : staged) slots[e] = static_cast<std::int32_t>(e);
    }

    /// Runs a step of n tokens and compares both sets with the plain formulas.
    void expect_right(std::uint32_t n, const std::vector<std::uint32_t>& held,
                      const std::vector<std::uint32_t>& staged) {
        operands_.set(held_.choice.ids, ids);
        operands_.step.n_tokens = n;
        operands_.run(program_);
        EXPECT_LT(nmse_of(held_, n, held), 1e-6) << "held";
        EXPECT_LT(nmse_of(staged_, n, staged), 1e-6) << "staged";
    }

    ExpertTable table{2, Experts::kCount};
    std::vector<std::int32_t> ids;
    std::vector<float> weights;

private:
    double nmse_of(const ExpertFfnArgs& args, std::uint32_t n, const std::vector<std::uint32_t>& set) {
        std::vector<operation_cases::reference::ExpertMatrices> matrices(Experts::kCount);
        for (const std::uint32_t e : set)
            matrices[e] = {experts_.values[e][0], experts_.values[e][1], experts_.values[e][2]};
        std::vector<std::int32_t> known(ids.begin(), ids.begin() + n * kUsed);
        std::vector<float> counted(weights.begin(), weights.begin() + n * kUsed);
        for (std::size_t i = 0; i < known.size(); ++i)
            if (known[i] < 0 || known[i] >= static_cast<std::int32_t>(Experts::kCount)) {
                known[i] = 0;
                counted[i] = 0;
            }
        const auto expected =
            operation_cases::reference::expert_ffn({.x = std::span(x_).first(n * Experts::kEmbd),
                                                    .n_embd = Experts::kEmbd,
                                                    .n_ff = Experts::kFf,
                                                    .n_expert_used = kUsed,
                                                    .ids = known,
                                                    .weights = counted,
                                                    .experts = matrices,
                                                    .gate_type = args.gate_type,
                                                    .up_type = args.up_type,
                                                    .down_type = args.down_type},
                                                   operation_cases::reference::Activations::kQuantised);
        return nmse(operands_.get(args.out.data, n * Experts::kEmbd), expected.values);
    }

    DeviceOperands& operands_;
    const Experts& experts_;
    std::vector<float> x_;
    DeviceBlock slot_of_;
    std::vector<const std::byte*> places_;
    ExpertFfnArgs held_, staged_;
    Program program_;
};

}  // namespace lfm::test
