// A layer of a tiny model with attention, short convolution and experts, for any memory: the same numbers everywhere.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/needs/conv_ring.h"
#include "tests/backends/cpu/random_blocks.h"
#include "tests/backends/step_sequence.h"

namespace lfm::test {

/// Allocates n bytes, copies them from `from` unless that is null, and returns their address.
using PlaceBytes = std::function<std::byte*(const std::byte* from, std::size_t n)>;

struct LittleLayer {
    static constexpr std::uint32_t kEmbd = 64, kHeadDim = 32, kFf = 96, kExperts = 8, kUsed = 2, kVocab = 50,
                                   kBatch = 8, kContext = 64, kTaps = 3;
    static constexpr std::uint32_t kHeld = 4, kStaged = 2;  // experts 0…3 held, 4 and 5 staged, the rest elsewhere
    static constexpr DType kExpertType = DType::kQ4_0, kDownType = DType::kQ8_0;
    static constexpr DeviceId kSelf{1};

    std::vector<std::vector<std::byte>> staged_bytes;  // of each staged expert, for its slot
    std::byte* slots = nullptr;
    std::size_t slot_bytes = 0;
    ExpertTable table{1, kExperts};
    std::vector<Operation> mixer, held, output;  // three programs; the staged experts are in the last
    RowsView logits;
    ExpertChoice choice;
    StepParams step;

    /// Long, as it is one list: the operations in their order, each with its operands.
    explicit LittleLayer(const PlaceBytes& place) {
        Random random(7);
        const auto floats = [&](std::size_t n) {
            const auto values = random_floats(n, random);
            return reinterpret_cast<float*>(place(std::as_bytes(std::span(values)).data(), n * sizeof(float)));
        };
        const auto rows = [&](std::uint32_t n_cols) {
            return RowsView{reinterpret_cast<float*>(place(nullptr, kBatch * n_cols * sizeof(float))), n_cols};
        };
        const auto weight = [&](DType type, std::uint32_t n_out, std::uint32_t n_in) {
            const auto blocks = random_blocks(type, std::size_t{n_out} * n_in, random);
            return WeightView{place(blocks.data(), blocks.size()), type, n_out, n_in, row_bytes(type, n_in)};
        };
        const auto multiply = [](RowsView x, const WeightView& w, RowsView out) {
            return MatmulArgs{.x = x, .outputs = {MatmulOutput{w, out}}, .n_outputs = 1};
        };
        const RowsView hidden = rows(kEmbd), normed = rows(kEmbd), q = rows(2 * kHeadDim), k = rows(kHeadDim),
                       v = rows(kHeadDim), attended = rows(kEmbd), branch = rows(kEmbd), bcx = rows(3 * kEmbd),
                       from_held = rows(kEmbd), from_staged = rows(kEmbd), last = rows(kEmbd);
        logits = rows(kVocab);
        choice.ids = reinterpret_cast<std::int32_t*>(place(nullptr, kBatch * kUsed * 4));
        choice.weights = reinterpret_cast<float*>(place(nullptr, kBatch * kUsed * 4));
        const KvView cache{place(nullptr, kContext * kHeadDim / 32 * 34),
                           place(nullptr, kContext * kHeadDim * 2),
                           DType::kQ8_0,
                           DType::kF16,
                           1,
                           kHeadDim};
        const WeightView embedding = weight(DType::kF32, kVocab, kEmbd);

        mixer.push_back(EmbedArgs{embedding, hidden});
        mixer.push_back(RmsNormArgs{.x = hidden, .weight = floats(kEmbd), .eps = 1e-5f, .out = normed});
        mixer.push_back(MatmulArgs{.x = normed,
                                   .outputs = {MatmulOutput{weight(DType::kQ4_0, 2 * kHeadDim, kEmbd), q},
                                               MatmulOutput{weight(DType::kQ8_0, kHeadDim, kEmbd), k},
                                               MatmulOutput{weight(DType::kF16, kHeadDim, kEmbd), v}},
                                   .n_outputs = 3});
        mixer.push_back(QkNormRopeArgs{.q = q,
                                       .k = k,
                                       .q_norm = floats(kHeadDim),
                                       .k_norm = floats(kHeadDim),
                                       .head_dim = kHeadDim,
                                       .eps = 1e-5f});
        mixer.push_back(KvAppendArgs{k, v, cache});
        mixer.push_back(AttentionArgs{q, cache, attended});
        mixer.push_back(AddArgs{hidden, attended, hidden});
        mixer.push_back(multiply(hidden, weight(DType::kQ4_0, 3 * kEmbd, kEmbd), bcx));
        auto* ring = reinterpret_cast<float*>(place(nullptr, kRing.n_slots * kEmbd * sizeof(float)));
        mixer.push_back(ShortConvArgs{bcx, floats(kEmbd * kTaps), kTaps, ring, kRing.n_slots, branch});
        mixer.push_back(SwigluArgs{branch, hidden, normed});
        mixer.push_back(RouteArgs{.x = normed,
                                  .router = weight(DType::kF32, kExperts, kEmbd),
                                  .bias = floats(kExperts),
                                  .n_expert_used = kUsed,
                                  .out = choice});

        const std::size_t matrix = std::size_t{kFf} * row_bytes(kExpertType, kEmbd);
        const std::size_t down = std::size_t{kEmbd} * row_bytes(kDownType, kFf);
        slot_bytes = 2 * matrix + down;
        slots = place(nullptr, kStaged * slot_bytes);
        std::vector<std::int32_t> slot_of(kExperts, -1);
        for (std::uint32_t expert = 0; expert < kExperts; ++expert) {
            auto bytes = random_blocks(kExpertType, std::size_t{2} * kFf * kEmbd, random);
            const auto last_matrix = random_blocks(kDownType, std::size_t{kEmbd} * kFf, random);
            bytes.insert(bytes.end(), last_matrix.begin(), last_matrix.end());
            if (expert < kHeld) {
                const std::byte* at = place(bytes.data(), bytes.size());
                table.set({LayerId{0}, expert}, {kSelf, at, at + matrix, at + 2 * matrix});
            } else if (expert < kHeld + kStaged) {
                slot_of[expert] = static_cast<std::int32_t>(staged_bytes.size());
                staged_bytes.push_back(std::move(bytes));
            }
        }
        const auto slots_bytes = std::as_bytes(std::span(slot_of));
        ExpertFfnArgs experts{
            .x = normed,
            .layer = LayerId{0},
            .experts = &table,
            .set = ExpertSet::kHeld,
            .staged = {.slot_of = reinterpret_cast<const std::int32_t*>(place(slots_bytes.data(), slots_bytes.size())),
                       .slots = slots,
                       .slot_bytes = slot_bytes,
                       .up_offset = matrix,
                       .down_offset = 2 * matrix},
            .gate_type = kExpertType,
            .up_type = kExpertType,
            .down_type = kDownType,
            .n_ff = kFf,
            .n_expert_used = kUsed,
            .choice = choice,
            .out = from_held};
        held.push_back(experts);
        experts.set = ExpertSet::kStaged;
        experts.out = from_staged;
        output.push_back(experts);
        output.push_back(AddArgs{from_held, from_staged, branch});
        output.push_back(AddArgs{hidden, branch, hidden});
        output.push_back(CopyArgs{.parts = {RowsCopy{hidden, last}}, .n_parts = 1, .rows = RowSet::kOutputs});
        MatmulArgs head = multiply(last, embedding, logits);
        head.rows = RowSet::kOutputs;
        output.push_back(head);

        rope_ = random_floats(kBatch * kHeadDim, random);
        for (std::uint32_t i = 0; i < kBatch; ++i) tokens_.push_back(static_cast<std::int32_t>(random() % kVocab));
        step.rope = rope_.data();
        step.token_ids = tokens_.data();
    }
    LittleLayer(const LittleLayer&) = delete;
    LittleLayer& operator=(const LittleLayer&) = delete;

    void set_step(std::uint32_t position, std::uint32_t n) {
        step.n_tokens = n;
        step.n_outputs = n;
        follow(step, sequence_, position, window_);
        window_ = kRing.after(window_, n, n);
    }

private:
    static constexpr ConvRing kRing = ConvRing::of(kTaps, 0);

    std::vector<float> rope_;
    std::vector<std::int32_t> tokens_;
    StepSequence sequence_;
    std::uint32_t window_ = 0;
};

}  // namespace lfm::test
