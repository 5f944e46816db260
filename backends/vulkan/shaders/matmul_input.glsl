// Activations of a matmul: f32 for F32, F16 and BF16 weights; for quantised ones 8-bit integers in blocks of 32 with a
// scale each and the sums of their halves (quantise.comp), or f32 too with ActivationKind::kFloat. Include blocks.glsl
// first.

layout(constant_id = 8) const bool kFloatActivations = false;  // Kernel::kActivations in recorder.h

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Quads { uvec4 at[]; };

/// Rows of n: addresses of x [rows, n] f32; q [rows, n] int8; scale [rows, n / 32] f32; sums [rows, n / 32], two i16.
struct Input {
    uint64_t x;
    uint64_t q;
    uint64_t scale;
    uint64_t sums;
};

/// What one item of the weights is multiplied with. Only the form that the weights' type needs is loaded.
struct InputItem {
    uvec4 low, high;
    vec2 scale;
    ivec2 sum;
    vec4 x[8];
};

Input input_row(Input rows, uint row, uint n) {
    const uint64_t first = uint64_t(row) * n;
    return Input(rows.x + 4 * first, rows.q + first, rows.scale + first / 8, rows.sums + first / 8);
}

void load_input_floats(Input row, uint item, uint n, out vec4 x[8]) {
    Floats from = Floats(row.x + 128 * item);
    if (32 * item + 32 <= n) {
        [[unroll]] for (uint i = 0; i < 8; ++i)
            x[i] = vec4(from.at[4 * i], from.at[4 * i + 1], from.at[4 * i + 2], from.at[4 * i + 3]);
    } else {
        [[unroll]] for (uint i = 0; i < 32; ++i) x[i / 4][i % 4] = 32 * item + i < n ? from.at[i] : 0;
    }
}

vec4 four_floats(Floats from, uint i) { return vec4(from.at[i], from.at[i + 1], from.at[i + 2], from.at[i + 3]); }

/// The f32 activations of the item's two runs: for quantised weights with kFloatActivations.
void load_input_runs(uint type, Input row, uint item, out vec4 x[8]) {
    const uvec2 runs = runs_of(type, item);
    Floats from = Floats(row.x);
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        x[i] = four_floats(from, 16 * runs.x + 4 * i);
        x[4 + i] = four_floats(from, 16 * runs.y + 4 * i);
    }
}

int half_sum(uint sums, uint which) { return bitfieldExtract(int(sums), 16 * int(which), 16); }

InputItem load_input(uint type, Input row, uint item, uint n) {
    InputItem input_item;
    if (is_float(type)) {
        load_input_floats(row, item, n, input_item.x);
    } else if (kFloatActivations) {
        load_input_runs(type, row, item, input_item.x);
    } else {
        const uvec2 runs = runs_of(type, item);
        Floats scales = Floats(row.scale);
        Words sums = Words(row.sums);
        input_item.low = Quads(row.q).at[runs.x];
        input_item.high = Quads(row.q).at[runs.y];
        input_item.scale = vec2(scales.at[runs.x / 2], scales.at[runs.y / 2]);
        input_item.sum = ivec2(half_sum(sums.at[runs.x / 2], runs.x & 1), half_sum(sums.at[runs.y / 2], runs.y & 1));
    }
    return input_item;
}

/// As load_input, but as f32 values in the order of the item's weights.
void load_input_values(uint type, Input row, uint item, uint n, out vec4 x[8]) {
    if (is_float(type)) {
        load_input_floats(row, item, n, x);
        return;
    }
    if (kFloatActivations) {
        load_input_runs(type, row, item, x);
        return;
    }
    const uvec2 runs = runs_of(type, item);
    const uvec4 low = Quads(row.q).at[runs.x], high = Quads(row.q).at[runs.y];
    Floats scales = Floats(row.scale);
    const float low_scale = scales.at[runs.x / 2], high_scale = scales.at[runs.y / 2];
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        x[i] = low_scale * vec4(levels_of(low[i]));
        x[4 + i] = high_scale * vec4(levels_of(high[i]));
    }
}

int dot_16(uvec4 a, uvec4 b) {
    ivec4 sum = ivec4(0);
    [[unroll]] for (uint i = 0; i < 4; ++i) sum += levels_of(a[i]) * levels_of(b[i]);
    return sum.x + sum.y + sum.z + sum.w;
}

/// Σ w · x over an item of the weight row at `row`. Sums of integers are exact.
float dot_item(uint type, uint64_t row, uint item, uint n, InputItem input_item) {
    if (is_float(type) || kFloatActivations) {
        vec4 w[8];
        load_weights(type, row, item, n, w);
        vec4 sum = w[0] * input_item.x[0];
        [[unroll]] for (uint i = 1; i < 8; ++i) sum = fma(w[i], input_item.x[i], sum);
        return (sum.x + sum.y) + (sum.z + sum.w);
    }
    const Item w = load_item(type, row, item);
    const float low = w.low.scale * float(dot_16(w.low.level, input_item.low)) - w.low.min * float(input_item.sum.x);
    const float high =
        w.high.scale * float(dot_16(w.high.level, input_item.high)) - w.high.min * float(input_item.sum.y);
    return input_item.scale.x * low + input_item.scale.y * high;
}
