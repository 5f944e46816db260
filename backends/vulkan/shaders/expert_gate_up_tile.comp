// Many tokens: hidden[row] = silu(gate · x) ⊙ up · x for the rows of each expert, sorted by expert_sort.comp. A
// group takes 64 rows of both matrices of one expert and tiles of its tokens.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "expert_table.glsl"
#include "blocks.glsl"
#include "matmul_input.glsl"

layout(constant_id = 0) const uint kGateType = 0;
layout(constant_id = 1) const uint kUpType = 0;
layout(constant_id = 2) const uint kInputs = 1;  // 2: the types differ
layout(local_size_x = 128) in;
const uint kTileTokens = 32;
const uint kMatrices = 2;
#include "matmul_tile.glsl"

layout(push_constant) uniform Push {
    Input rows;
    ExpertTable found;
    Words begin;
    Words token_of;
    FloatsInOut hidden;
    uint gate_row_bytes;
    uint up_row_bytes;
    uint n_in;
    uint n_ff;
};

void load_matrices(ExpertEntry expert, uint first_ff, uint item, out vec4 w[8]) {
    const uint me = gl_LocalInvocationIndex;
    const uint64_t row = min(first_ff + me % kTileRows, n_ff - 1);
    if (me < kTileRows)
        load_weights(kGateType, expert.gate + row * gate_row_bytes, item, n_in, w);
    else
        load_weights(kUpType, expert.up + row * up_row_bytes, item, n_in, w);
}

/// One tile: sorted rows from `first` on, at most 32, before `end`.
void multiply(ExpertEntry expert, uint first_ff, uint first, uint end) {
    const uint me = gl_LocalInvocationIndex;
    const uint token = token_of.at[min(first + me % kTileTokens, end - 1)];
    const Input row = input_row(rows, token, n_in);
    TileSums sums;
    clear(sums);
    for (uint item = 0; item < (n_in + 31) / 32; ++item) {
        vec4 w[8], x[8];
        load_matrices(expert, first_ff, item, w);
        if (me < kTileTokens)
            load_input_values(kGateType, row, item, n_in, x);
        else if (me < kInputs * kTileTokens)
            load_input_values(kUpType, row, item, n_in, x);
        barrier();  // the previous columns are multiplied
        put_weights(me / kTileRows, me % kTileRows, w);
        if (me < kInputs * kTileTokens) put_input(me / kTileTokens, me % kTileTokens, x);
        barrier();
        multiply_tiles(end - first, sums);
    }
    [[unroll]] for (uint t = 0; t < 4; ++t) {
        const uint to = first + 4 * token_group() + t;
        const vec4 gate = sums.at[0][0][t];
        const vec4 value = gate / (1.0 + exp(-gate)) * sums.at[1][0][t];
        [[unroll]] for (uint i = 0; i < 4; ++i)
            if (to < end && first_ff + tile_row(0) + i < n_ff)
                hidden.at[to * n_ff + first_ff + tile_row(0) + i] = value[i];
    }
}

void main() {
    const uint e = gl_WorkGroupID.y, end = begin.at[e + 1];
    for (uint first = begin.at[e] + gl_WorkGroupID.z * kTileTokens; first < end;
         first += gl_NumWorkGroups.z * kTileTokens)
        multiply(found.at[e], gl_WorkGroupID.x * kTileRows, first, end);
}
