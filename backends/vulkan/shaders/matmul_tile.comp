// out[row, r] = x[row] · w[r] for many rows of x: a group takes 64 rows of each.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "blocks.glsl"
#include "matmul_input.glsl"

layout(constant_id = 0) const uint kType = 0;
layout(local_size_x = 128) in;
const uint kTileTokens = 64;
const uint kMatrices = 1;
const uint kInputs = 1;
#include "matmul_tile.glsl"

layout(push_constant) uniform Push {
    Step step;
    Input rows;
    uint64_t weight;
    FloatsInOut result;
    uint row_bytes;
    uint n_in;
    uint n_out;
    uint row_set;
    uint fewest_rows;  // of x, else nothing is done
};

void main() {
    const uint n_rows = rows_of(step, row_set);
    const uint first_row = gl_WorkGroupID.x * kTileRows, first_token = gl_WorkGroupID.y * kTileTokens;
    if (n_rows < fewest_rows || first_token >= n_rows) return;
    const uint me = gl_LocalInvocationIndex;
    TileSums sums;
    clear(sums);
    for (uint item = 0; item < (n_in + 31) / 32; ++item) {
        vec4 values[8];
        if (me < kTileRows) {
            const uint row = min(first_row + me, n_out - 1);
            load_weights(kType, weight + uint64_t(row) * row_bytes, item, n_in, values);
        } else {
            const uint token = min(first_token + me - kTileRows, n_rows - 1);
            load_input_values(kType, input_row(rows, token, n_in), item, n_in, values);
        }
        barrier();  // the previous columns are multiplied
        if (me < kTileRows)
            put_weights(0, me, values);
        else
            put_input(0, me - kTileRows, values);
        barrier();
        multiply_tiles(n_rows - first_token, sums);
    }
    [[unroll]] for (uint v = 0; v < kTileVectors; ++v)
        [[unroll]] for (uint t = 0; t < 4; ++t) {
            const uint token = first_token + 4 * token_group() + t;
            [[unroll]] for (uint i = 0; i < 4; ++i) {
                const uint row = first_row + tile_row(v) + i;
                if (token < n_rows && row < n_out) result.at[token * n_out + row] = sums.at[0][v][t][i];
            }
        }
}
