// out[t] = table[token_ids[t]], one item of the row for each invocation. An id outside the table gives zeros.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "blocks.glsl"

layout(constant_id = 0) const uint kType = 0;
layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
    Step step;
    uint64_t table;
    FloatsInOut result;
    uint row_bytes;
    uint n_cols;
    uint n_rows;
};

void main() {
    const uint item = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
    if (32 * item >= n_cols || t >= step.n_tokens) return;
    const uint id = uint(Ints(step.token_ids).at[t]);
    vec4 w[8];
    load_weights(kType, table + uint64_t(min(id, n_rows - 1)) * row_bytes, item, n_cols, w);
    const uvec2 runs = runs_of(kType, item);
    [[unroll]] for (uint i = 0; i < 32; ++i) {
        const uint col = 16 * (i < 16 ? runs.x : runs.y) + i % 16;
        if (col < n_cols) result.at[t * n_cols + col] = id < n_rows ? w[i / 4][i % 4] : 0;
    }
}
