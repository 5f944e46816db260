// Operations recorded together leave the same bytes as recorded and run one by one, with fewer launches: layers of all
// kinds, steps of one token and of several, weights that are multiplied with quantised activations and others.
#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "backends/gpu/emulation/machine.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/needs/conv_ring.h"
#include "tests/backends/cpu/random_blocks.h"
#include "tests/backends/device_operands.h"
#include "tests/backends/gpu/emulated_device.h"
#include "tests/backends/step_sequence.h"

namespace lfm::test {
namespace {

using operation_cases::Noise;

constexpr std::uint32_t kMostTokens = 5, kContext = 160, kEmbd = 128, kHeads = 4, kKvHeads = 2, kHeadDim = 64;
constexpr std::uint32_t kFf = 288, kExpertFf = 96, kExperts = 6, kUsed = 3, kCache = 3, kVocab = 96, kMoeLayers = 2;
constexpr ConvRing kRing = ConvRing::of(kCache, 0);
constexpr float kEps = 1e-5f;

struct Types {
    const char* name;
    DType matrix, down, router;
};

/// A small model's layers over memory of their own.
class Layers {
public:
    Layers(Device& device, const Types& types, DType cache_type)
        : device_(device), operands_(device), types_(types), random_(7), noise_(3) {
        step.token_ids = tokens_.data();
        step.rope = rope_.data();
        std::ranges::generate(rope_, [&] { return noise_.value(); });
        cache_ = {.k = bytes(row_bytes(cache_type, kKvHeads * kHeadDim) * kContext),
                  .v = bytes(row_bytes(cache_type, kKvHeads * kHeadDim) * kContext),
                  .k_type = cache_type,
                  .v_type = cache_type,
                  .n_head_kv = kKvHeads,
                  .head_dim = kHeadDim};
        build();
    }

    void record_together() { programs_.push_back(device_.record(operations_, step)); }
    void record_apart() {
        for (const Operation& operation : operations_) programs_.push_back(device_.record({&operation, 1}, step));
    }
    void run(std::uint32_t position, std::uint32_t n_tokens) {
        step.n_tokens = n_tokens;
        step.n_outputs = 1;
        follow(step, sequence_, position, window_);
        window_ = kRing.after(window_, n_tokens, n_tokens);
        for (std::uint32_t i = 0; i < n_tokens; ++i)
            tokens_[i] = static_cast<std::int32_t>((position + 7 * i) % kVocab);
        device_.begin_step();
        for (const Program& program : programs_) static_cast<Backend&>(device_).submit(program);
        static_cast<Backend&>(device_).wait();
    }

    /// The first n_rows rows of each buffer of rows and the whole of every other buffer, in the order they were made.
    std::vector<std::vector<std::byte>> memory(std::uint32_t n_rows) {
        std::vector<std::vector<std::byte>> all;
        for (const Buffer& buffer : buffers_) {
            const std::size_t size = buffer.row_bytes * (buffer.is_rows ? n_rows : 1);
            all.push_back(operands_.get(buffer.data, size));
        }
        return all;
    }

    StepParams step;

private:
    StepSequence sequence_;
    std::uint32_t window_ = 0;

    struct Buffer {
        const std::byte* data;
        std::size_t row_bytes;
        bool is_rows;
    };

    RowsView rows(std::uint32_t n_cols) {
        float* data = operands_.put(std::vector<float>(std::size_t{kMostTokens} * n_cols, 0.25f));
        buffers_.push_back({reinterpret_cast<std::byte*>(data), n_cols * sizeof(float), true});
        return {data, n_cols};
    }
    std::byte* bytes(std::size_t size) {
        std::byte* data = operands_.put(std::vector<std::byte>(size));
        buffers_.push_back({data, size, false});
        return data;
    }
    ExpertChoice choice() {
        const RowsView ids = rows(kUsed), weights = rows(kUsed);
        return {reinterpret_cast<std::int32_t*>(ids.data), weights.data};
    }
    static RowsView ids_of(const ExpertChoice& choice) { return {reinterpret_cast<float*>(choice.ids), kUsed}; }
    static RowsView weights_of(const ExpertChoice& choice) { return {choice.weights, kUsed}; }

    const float* vector(std::uint32_t n) { return operands_.put(noise_.values(n)); }
    WeightView matrix(DType type, std::uint32_t n_out, std::uint32_t n_in) {
        std::vector<std::byte> blocks;
        if (type == DType::kF32) {
            const std::vector<float> values = noise_.values(std::size_t{n_out} * n_in, 0.1f);
            const auto as_bytes = std::as_bytes(std::span(values));
            blocks.assign(as_bytes.begin(), as_bytes.end());
        } else {
            blocks = random_blocks(type, std::size_t{n_out} * n_in, random_);
        }
        blocks.resize(blocks.size() + 16);
        return {operands_.put(blocks), type, n_out, n_in, row_bytes(type, n_in)};
    }
    static MatmulArgs multiply(const RowsView& x, const WeightView& weight, const RowsView& out) {
        MatmulArgs args{.x = x, .n_outputs = 1};
        args.outputs[0] = {weight, out};
        return args;
    }
    void add(const Operation& operation) { operations_.push_back(operation); }
    void norm() { add(RmsNormArgs{.x = hidden_, .weight = vector(kEmbd), .eps = kEps, .out = normed_}); }
    void sum(const RowsView& branch) { add(AddArgs{.a = hidden_, .b = branch, .out = hidden_}); }

    void build() {
        hidden_ = rows(kEmbd), normed_ = rows(kEmbd), branch_ = rows(kEmbd), others_ = rows(kEmbd);
        add(EmbedArgs{.table = matrix(types_.matrix, kVocab, kEmbd), .out = hidden_});
        conv();
        dense();
        attention();
        experts(0);
        conv();
        experts(1);
        const RowsView last = rows(kEmbd), logits = rows(kVocab);
        add(CopyArgs{.parts = {RowsCopy{hidden_, last}}, .n_parts = 1, .rows = RowSet::kOutputs});
        add(RmsNormArgs{.x = last, .weight = vector(kEmbd), .eps = kEps, .out = last, .rows = RowSet::kOutputs});
        MatmulArgs head = multiply(last, matrix(types_.matrix, kVocab, kEmbd), logits);
        head.rows = RowSet::kOutputs;
        add(head);
    }
    void conv() {
        norm();
        const RowsView bcx = rows(3 * kEmbd);
        add(multiply(normed_, matrix(types_.matrix, 3 * kEmbd, kEmbd), bcx));
        add(ShortConvArgs{.bcx = bcx,
                          .taps = vector(kEmbd * kCache),
                          .l_cache = kCache,
                          .ring = reinterpret_cast<float*>(bytes(kRing.n_slots * kEmbd * sizeof(float))),
                          .n_slots = kRing.n_slots,
                          .out = normed_});
        add(multiply(normed_, matrix(types_.matrix, kEmbd, kEmbd), branch_));
        sum(branch_);
    }
    void attention() {
        norm();
        const RowsView q = rows(kHeads * kHeadDim), k = rows(kKvHeads * kHeadDim), v = rows(kKvHeads * kHeadDim);
        const RowsView attended = rows(kHeads * kHeadDim);
        MatmulArgs all{.x = normed_, .n_outputs = 3};
        all.outputs = {MatmulOutput{matrix(types_.matrix, q.n_cols, kEmbd), q},
                       {matrix(types_.matrix, k.n_cols, kEmbd), k},
                       {matrix(types_.down, v.n_cols, kEmbd), v}};
        add(all);
        add(QkNormRopeArgs{
            .q = q, .k = k, .q_norm = vector(kHeadDim), .k_norm = vector(kHeadDim), .head_dim = kHeadDim, .eps = kEps});
        add(KvAppendArgs{.k = k, .v = v, .cache = cache_});
        add(AttentionArgs{.q = q, .cache = cache_, .out = attended});
        add(multiply(attended, matrix(types_.matrix, kEmbd, attended.n_cols), branch_));
        sum(branch_);
    }
    void dense() {
        norm();
        const RowsView gate = rows(kFf), up = rows(kFf);
        MatmulArgs both{.x = normed_, .n_outputs = 2};
        both.outputs[0] = {matrix(types_.matrix, kFf, kEmbd), gate};
        both.outputs[1] = {matrix(types_.matrix, kFf, kEmbd), up};
        add(both);
        add(SwigluArgs{.gate = gate, .up = up, .out = gate});
        add(multiply(gate, matrix(types_.down, kEmbd, kFf), branch_));
        sum(branch_);
    }
    /// MoE layer 0 as a resident one, 1 as one whose experts are shared with the host.
    void experts(std::uint32_t layer) {
        norm();
        const ExpertChoice chosen = choice(), seen = choice();
        const RowsView crossing = rows(kEmbd);
        add(RouteArgs{.x = normed_,
                      .router = matrix(types_.router, kExperts, kEmbd),
                      .bias = vector(kExperts),
                      .n_expert_used = kUsed,
                      .moe_layer = layer,
                      .out = chosen});
        if (layer == 1)
            add(CopyArgs{.parts = {RowsCopy{normed_, crossing}, RowsCopy{ids_of(chosen), ids_of(seen)},
                                   RowsCopy{weights_of(chosen), weights_of(seen)}},
                         .n_parts = 3});
        for (std::uint32_t e = 0; e < kExperts; ++e) {
            const auto place = [&](DType type, std::uint32_t n_out, std::uint32_t n_in) {
                return matrix(type, n_out, n_in).data;
            };
            table_.set({LayerId{layer}, e},
                       {e == 2 ? kHost : DeviceId{1}, place(types_.matrix, kExpertFf, kEmbd),
                        place(types_.matrix, kExpertFf, kEmbd), place(types_.down, kEmbd, kExpertFf)});
        }
        add(ExpertFfnArgs{.x = normed_,
                          .layer = {layer},
                          .experts = &table_,
                          .gate_type = types_.matrix,
                          .up_type = types_.matrix,
                          .down_type = types_.down,
                          .n_ff = kExpertFf,
                          .n_expert_used = kUsed,
                          .choice = chosen,
                          .out = branch_});
        sum(branch_);
        if (layer == 1) return sum(others_);
        add(CopyArgs{.parts = {RowsCopy{ids_of(chosen), ids_of(seen)}}, .n_parts = 1});
    }

    Device& device_;
    DeviceOperands operands_;
    Types types_;
    Random random_;
    Noise noise_;
    std::array<std::int32_t, kMostTokens> tokens_{};
    std::array<float, std::size_t{kMostTokens} * kHeadDim> rope_{};
    ExpertTable table_{kMoeLayers, kExperts};
    KvView cache_;
    RowsView hidden_, normed_, branch_, others_;
    std::vector<Buffer> buffers_;
    std::vector<Operation> operations_;
    std::vector<Program> programs_;
};

using Case = std::tuple<Types, DType, gpu::emulation::Order>;

class GpuFusion : public testing::TestWithParam<Case> {
protected:
    void SetUp() override {
        gpu::emulation::reset_machine();
        gpu::emulation::set_order(std::get<2>(GetParam()));
    }
    void TearDown() override {
        EXPECT_EQ(gpu::emulation::take_reports(), std::vector<std::string>{});
        gpu::emulation::reset_machine();
    }
};

std::string name_of(const testing::TestParamInfo<Case>& at) {
    return std::string(std::get<0>(at.param).name) + "_" + std::string(dtype_name(std::get<1>(at.param))) + "_" +
           order_name(std::get<2>(at.param));
}
INSTANTIATE_TEST_SUITE_P(All, GpuFusion,
                         testing::Combine(testing::Values(Types{"quantised", DType::kQ4_0, DType::kQ8_0, DType::kF32},
                                                          Types{"mixed", DType::kQ8_0, DType::kF16, DType::kQ8_0},
                                                          Types{"halves", DType::kF16, DType::kQ8_0, DType::kF16}),
                                          testing::Values(DType::kF16, DType::kQ8_0),
                                          testing::Values(gpu::emulation::Order::kForward,
                                                          gpu::emulation::Order::kReverse)),
                         name_of);

TEST_P(GpuFusion, LeavesTheSameBytesAsOneByOne) {
    const auto& [types, cache_type, order] = GetParam();
    Ledger ledger;
    const auto device = open_emulated({.n_batch = kMostTokens, .n_ctx = kContext}, ledger);
    const auto other = open_emulated({.n_batch = kMostTokens, .n_ctx = kContext}, ledger);
    Layers apart(*device, types, cache_type), together(*other, types, cache_type);
    apart.record_apart();
    together.record_together();
    // First several tokens; then single ones: early, so late that their keys are split among groups, and once more.
    for (const auto& [position, n_tokens] : {std::pair{0u, kMostTokens}, {kMostTokens, 1u}, {150u, 1u}, {151u, 1u}}) {
        SCOPED_TRACE(position);
        apart.run(position, n_tokens);
        together.run(position, n_tokens);
        EXPECT_LT(other->step_nodes()->total(), device->step_nodes()->total());
        const auto expected = apart.memory(n_tokens), found = together.memory(n_tokens);
        ASSERT_EQ(expected.size(), found.size());
        for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(expected[i], found[i]) << "buffer " << i;
    }
}

}  // namespace
}  // namespace lfm::test
