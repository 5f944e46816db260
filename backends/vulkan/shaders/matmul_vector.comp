// out[row, r] = x[row] · w[r] for a few rows of x: a group takes some weight rows and spreads each over its
// invocations.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "blocks.glsl"
#include "matmul_input.glsl"

layout(constant_id = 0) const uint kType = 0;
layout(constant_id = 1) const uint kSums = 4;  // weight rows of a group at a time
layout(local_size_x_id = 2) in;                // 32 or 64
#include "matmul_reduce.glsl"

layout(push_constant) uniform Push {
    Step step;
    Input rows;
    uint64_t weight;
    FloatsInOut result;
    uint row_bytes;
    uint n_in;
    uint n_out;
    uint row_set;
    uint most_rows;  // of x, else nothing is done
};

void main() {
    const uint n_rows = rows_of(step, row_set);
    if (n_rows > most_rows || gl_WorkGroupID.y >= n_rows) return;
    const Input row = input_row(rows, gl_WorkGroupID.y, n_in);
    const uint n_items = (n_in + 31) / 32;
    for (uint first = gl_WorkGroupID.x * kSums; first < n_out; first += gl_NumWorkGroups.x * kSums) {
        float sums[kSums];
        [[unroll]] for (uint i = 0; i < kSums; ++i) sums[i] = 0;
        for (uint item = gl_LocalInvocationID.x; item < n_items; item += gl_WorkGroupSize.x) {
            const InputItem input_item = load_input(kType, row, item, n_in);
            [[unroll]] for (uint i = 0; i < kSums; ++i) {
                const uint64_t weight_row = weight + uint64_t(min(first + i, n_out - 1)) * row_bytes;
                sums[i] += dot_item(kType, weight_row, item, n_in, input_item);
            }
        }
        sum_over_group(sums);
        [[unroll]] for (uint i = 0; i < kSums; ++i)
            if (gl_LocalInvocationID.x == i && first + i < n_out)
                result.at[gl_WorkGroupID.y * n_out + first + i] = sums[i];
    }
}
