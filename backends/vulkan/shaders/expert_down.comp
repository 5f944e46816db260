// One token: out = Σ weight · down(hidden[j]) over the choices j of the set; a group takes some rows of all of them.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "expert_table.glsl"
#include "blocks.glsl"
#include "matmul_input.glsl"

layout(constant_id = 0) const uint kType = 0;
layout(constant_id = 1) const uint kUsed = 1;
layout(constant_id = 2) const uint kSums = 2;  // rows of a group at a time
layout(local_size_x_id = 3) in;                // 32 or 64
#include "matmul_reduce.glsl"

layout(push_constant) uniform Push {
    Input hidden;       // a row for each choice
    ExpertTable found;  // of each choice
    Floats weights;     // of each choice
    FloatsInOut result;
    uint row_bytes;
    uint n_ff;
    uint n_out;
};

shared uint64_t down[kUsed];  // 0: the expert is not in the set
shared float weight[kUsed];

void main() {
    for (uint j = gl_LocalInvocationID.x; j < kUsed; j += gl_WorkGroupSize.x) {
        const ExpertEntry expert = found.at[j];
        down[j] = expert.held != 0 ? expert.down : 0;
        weight[j] = weights.at[j];
    }
    barrier();
    const uint n_items = (n_ff + 31) / 32;
    for (uint first = gl_WorkGroupID.x * kSums; first < n_out; first += gl_NumWorkGroups.x * kSums) {
        float sums[kSums];
        [[unroll]] for (uint i = 0; i < kSums; ++i) sums[i] = 0;
        for (uint at = gl_LocalInvocationID.x; at < kUsed * n_items; at += gl_WorkGroupSize.x) {
            const uint j = at / n_items, item = at % n_items;
            if (down[j] == 0) continue;
            const InputItem input_item = load_input(kType, input_row(hidden, j, n_ff), item, n_ff);
            [[unroll]] for (uint i = 0; i < kSums; ++i) {
                const uint64_t row = down[j] + uint64_t(min(first + i, n_out - 1)) * row_bytes;
                sums[i] = fma(weight[j], dot_item(kType, row, item, n_ff, input_item), sums[i]);
            }
        }
        sum_over_group(sums);
        [[unroll]] for (uint i = 0; i < kSums; ++i)
            if (gl_LocalInvocationID.x == i && first + i < n_out) result.at[first + i] = sums[i];
    }
}
