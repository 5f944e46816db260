// Operations that work row by row, and matmul: embed, rms_norm, matmul, swiglu, add, copy.
#include <gtest/gtest.h>

#include "tests/backends/operation_cases/run_case.h"

namespace lfm::operation_cases {
namespace {

std::uint32_t n_rows(std::uint32_t n_tokens, std::uint32_t n_outputs, RowSet rows) {
    return rows == RowSet::kTokens ? n_tokens : n_outputs;
}

float* result_of(Bed& bed, Result result, float* first, float* second, std::size_t n) {
    switch (result) {
        case Result::kApart: break;
        case Result::kOverFirst: return first;
        case Result::kOverSecond: return second;
    }
    return bed.room<float>(n);
}

}  // namespace

void run_case(Bed& bed, const EmbedCase& each, GroupTally&) {
    Noise noise(each.seed);
    const Matrix table = bed.weights().cut(each.type, std::size_t{each.n_vocab} * each.n_embd, noise);
    std::vector<std::int32_t> ids{static_cast<std::int32_t>(each.n_vocab) - 1, 0};  // the ends, then any, some twice
    while (ids.size() < each.n_tokens) ids.push_back(static_cast<std::int32_t>(noise.below(each.n_vocab)));
    ids.resize(each.n_tokens);
    std::vector<double> expected;
    for (const std::int32_t id : ids) {
        const auto row = table.values.subspan(static_cast<std::size_t>(id) * each.n_embd, each.n_embd);
        expected.insert(expected.end(), row.begin(), row.end());
    }
    bed.set_tokens(ids);
    const RowsView out{bed.room<float>(expected.size()), each.n_embd};
    bed.run({EmbedArgs{.table = bed.put(table, each.type, each.n_vocab, each.n_embd), .out = out}});
    expect_within(compare(bed.get(out.data, expected.size()), expected), bed.bars().elementwise);
}

void run_case(Bed& bed, const RmsNormCase& each, GroupTally&) {
    constexpr float kEps = 1e-5f;
    Noise noise(each.seed);
    const std::size_t n = std::size_t{n_rows(each.n_tokens, each.n_outputs, each.rows)} * each.n_cols;
    const std::vector<float> x = noise.values(n, each.spread), weight = noise.values(each.n_cols);
    float* x_there = bed.put(x);
    float* out = result_of(bed, each.result, x_there, nullptr, n);
    bed.step.n_outputs = each.n_outputs;
    bed.run({RmsNormArgs{.x = {x_there, each.n_cols},
                         .weight = bed.put(weight),
                         .eps = kEps,
                         .out = {out, each.n_cols},
                         .rows = each.rows}});
    expect_within(compare(bed.get(out, n), reference::rms_norm(x, weight, kEps)), bed.bars().elementwise);
}

void run_case(Bed& bed, const MatmulCase& each, GroupTally& tally) {
    Noise noise(each.seed);
    const std::size_t rows = n_rows(each.n_tokens, each.n_outputs, each.rows);
    const std::vector<float> x = noise.activations(rows * each.n_in);
    MatmulArgs args{.x = {bed.put(x), each.n_in}, .n_outputs = each.n_weights, .rows = each.rows};
    std::array<Matrix, 3> matrices;
    for (std::size_t i = 0; i < each.n_weights; ++i) {
        matrices[i] = bed.weights().cut(each.types[i], std::size_t{each.n_out[i]} * each.n_in, noise);
        args.outputs[i] = {bed.put(matrices[i], each.types[i], each.n_out[i], each.n_in),
                           {bed.room<float>(rows * each.n_out[i]), each.n_out[i]}};
    }
    bed.step.n_outputs = each.n_outputs;
    bed.run({args});
    for (std::size_t i = 0; i < each.n_weights; ++i) {
        SCOPED_TRACE("output " + std::to_string(i));
        const std::vector<float> found = bed.get(args.outputs[i].out.data, rows * each.n_out[i]);
        const auto expected = [&](reference::Activations activations) {
            return reference::matmul(reference::as_multiplied(x, each.types[i], activations), matrices[i].values,
                                     each.n_in);
        };
        expect_within(compare(found, expected(bed.bars().activations)), bed.bars().matmul(each.types[i]));
        if (!reference::meets_quantised(each.types[i])) continue;
        const Comparison rounding = compare(found, expected(reference::Activations::kPlain));
        expect_nmse_within(rounding, bed.bars().rounding_case);
        tally.rounding.add(rounding);
    }
}

void run_case(Bed& bed, const SwigluCase& each, GroupTally&) {
    Noise noise(each.seed);
    const std::size_t n = std::size_t{each.n_tokens} * each.n_cols;
    std::vector<float> gate = noise.values(n, 3);
    const std::vector<float> up = noise.values(n);
    for (float& value : gate)
        if (noise.below(50) == 0) value *= 60;  // where exp overflows
    std::vector<double> expected;
    for (std::size_t i = 0; i < n; ++i) expected.push_back(reference::silu(gate[i]) * up[i]);
    float* gate_there = bed.put(gate);
    float* out = result_of(bed, each.result, gate_there, nullptr, n);
    bed.run({SwigluArgs{{gate_there, each.n_cols}, {bed.put(up), each.n_cols}, {out, each.n_cols}}});
    expect_within(compare(bed.get(out, n), expected), bed.bars().elementwise);
}

void run_case(Bed& bed, const AddCase& each, GroupTally&) {
    Noise noise(each.seed);
    const std::size_t n = std::size_t{each.n_tokens} * each.n_cols;
    const std::vector<float> a = noise.values(n), b = noise.values(n, 0.1f);
    std::vector<double> expected;
    for (std::size_t i = 0; i < n; ++i) expected.push_back(double{a[i]} + b[i]);
    float* a_there = bed.put(a);
    float* b_there = bed.put(b);
    float* out = result_of(bed, each.result, a_there, b_there, n);
    bed.run({AddArgs{{a_there, each.n_cols}, {b_there, each.n_cols}, {out, each.n_cols}}});
    expect_within(compare(bed.get(out, n), expected), bed.bars().elementwise);
}

void run_case(Bed& bed, const CopyCase& each, GroupTally&) {
    Noise noise(each.seed);
    const std::size_t rows = n_rows(each.n_tokens, each.n_outputs, each.rows);
    CopyArgs args{.n_parts = each.n_parts, .rows = each.rows};
    std::array<std::vector<std::uint32_t>, 4> bits;  // any: also NaN and subnormal values stay as they are
    for (std::size_t i = 0; i < each.n_parts; ++i) {
        for (std::size_t j = 0; j < std::size_t{each.n_tokens} * each.n_cols[i]; ++j)
            bits[i].push_back(static_cast<std::uint32_t>(noise.bits()));
        args.parts[i] = {{reinterpret_cast<float*>(bed.put(bits[i])), each.n_cols[i]},
                         {bed.room<float>(rows * each.n_cols[i]), each.n_cols[i]}};
    }
    bed.step.n_outputs = each.n_outputs;
    std::vector<std::uint32_t> chosen;  // any rows; or none named: the last
    for (std::uint32_t i = 0; i < each.n_outputs; ++i) chosen.push_back((i * 7 + 3) % each.n_tokens);
    if (each.seed % 2 == 0) bed.step.output_rows = chosen.data();
    bed.run({args});
    for (std::size_t i = 0; i < each.n_parts; ++i) {
        const std::size_t n_cols = each.n_cols[i];
        const auto found = bed.get(reinterpret_cast<const std::uint32_t*>(args.parts[i].out.data), rows * n_cols);
        for (std::uint32_t row = 0; row < rows; ++row) {
            const std::size_t from = each.rows == RowSet::kTokens ? row : bed.step.output_row(row);
            EXPECT_TRUE(std::ranges::equal(std::span(found).subspan(row * n_cols, n_cols),
                                           std::span(bits[i]).subspan(from * n_cols, n_cols)))
                << "part " << i << ", row " << row;
        }
    }
    bed.step.output_rows = nullptr;
}

}  // namespace lfm::operation_cases
