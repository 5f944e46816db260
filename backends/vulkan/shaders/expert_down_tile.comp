// Many tokens: out[row] = down(hidden[row]) for the rows of each expert, sorted by expert_sort.comp. A group takes 64
// rows of one expert's matrix and tiles of its tokens.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "expert_table.glsl"
#include "blocks.glsl"
#include "matmul_input.glsl"

layout(constant_id = 0) const uint kType = 0;
layout(local_size_x = 128) in;
const uint kTileTokens = 32;
const uint kMatrices = 1;
const uint kInputs = 1;
#include "matmul_tile.glsl"

layout(push_constant) uniform Push {
    Input hidden;
    ExpertTable found;
    Words begin;
    FloatsInOut result;
    uint row_bytes;
    uint n_ff;
    uint n_out;
};

/// One tile: sorted rows from `first` on, at most 32, before `end`.
void multiply(uint64_t down, uint first_out, uint first, uint end) {
    const uint me = gl_LocalInvocationIndex;
    TileSums sums;
    clear(sums);
    for (uint item = 0; item < (n_ff + 31) / 32; ++item) {
        vec4 values[8];
        if (me < kTileRows)
            load_weights(kType, down + uint64_t(min(first_out + me, n_out - 1)) * row_bytes, item, n_ff, values);
        else if (me < kTileRows + kTileTokens)
            load_input_values(kType, input_row(hidden, min(first + me - kTileRows, end - 1), n_ff), item, n_ff, values);
        barrier();  // the previous columns are multiplied
        if (me < kTileRows)
            put_weights(0, me, values);
        else if (me < kTileRows + kTileTokens)
            put_input(0, me - kTileRows, values);
        barrier();
        multiply_tiles(end - first, sums);
    }
    [[unroll]] for (uint t = 0; t < 4; ++t) {
        const uint to = first + 4 * token_group() + t;
        [[unroll]] for (uint i = 0; i < 4; ++i)
            if (to < end && first_out + tile_row(0) + i < n_out)
                result.at[to * n_out + first_out + tile_row(0) + i] = sums.at[0][0][t][i];
    }
}

void main() {
    const uint e = gl_WorkGroupID.y, end = begin.at[e + 1];
    for (uint first = begin.at[e] + gl_WorkGroupID.z * kTileTokens; first < end;
         first += gl_NumWorkGroups.z * kTileTokens)
        multiply(found.at[e].down, gl_WorkGroupID.x * kTileRows, first, end);
}
