// One token: hidden[j] = silu(gate · x) ⊙ up · x for each choice j of the set; a group takes some rows of both
// matrices.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "expert_table.glsl"
#include "blocks.glsl"
#include "matmul_input.glsl"

layout(constant_id = 0) const uint kGateType = 0;
layout(constant_id = 1) const uint kUpType = 0;
layout(constant_id = 2) const uint kRows = 2;  // of a group at a time
layout(local_size_x_id = 3) in;                // 32 or 64
const uint kSums = 2 * kRows;
#include "matmul_reduce.glsl"

layout(push_constant) uniform Push {
    Input rows;
    ExpertTable found;  // of each choice
    FloatsInOut hidden;
    uint gate_row_bytes;
    uint up_row_bytes;
    uint n_in;
    uint n_ff;
};

void main() {
    const ExpertEntry expert = found.at[gl_WorkGroupID.y];
    if (expert.held == 0) return;
    const uint n_items = (n_in + 31) / 32;
    for (uint first = gl_WorkGroupID.x * kRows; first < n_ff; first += gl_NumWorkGroups.x * kRows) {
        float sums[kSums];
        [[unroll]] for (uint i = 0; i < kSums; ++i) sums[i] = 0;
        for (uint item = gl_LocalInvocationID.x; item < n_items; item += gl_WorkGroupSize.x) {
            const InputItem for_gate = load_input(kGateType, rows, item, n_in);
            const InputItem for_up = kUpType == kGateType ? for_gate : load_input(kUpType, rows, item, n_in);
            [[unroll]] for (uint i = 0; i < kRows; ++i) {
                const uint64_t row = min(first + i, n_ff - 1);
                sums[2 * i] += dot_item(kGateType, expert.gate + row * gate_row_bytes, item, n_in, for_gate);
                sums[2 * i + 1] += dot_item(kUpType, expert.up + row * up_row_bytes, item, n_in, for_up);
            }
        }
        sum_over_group(sums);
        [[unroll]] for (uint i = 0; i < kRows; ++i)
            if (gl_LocalInvocationID.x == i && first + i < n_ff)
                hidden.at[gl_WorkGroupID.y * n_ff + first + i] =
                    sums[2 * i] / (1.0 + exp(-sums[2 * i])) * sums[2 * i + 1];
    }
}
