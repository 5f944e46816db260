// out = x bit by bit; of an output buffer's rows: the last of the step's.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
    Step step;
    Words x;
    WordsOut result;
    uint n_cols;
    uint row_set;
};

void main() {
    const uint column = gl_GlobalInvocationID.x;
    const uint row = gl_WorkGroupID.y;
    if (column >= n_cols || row >= rows_of(step, row_set)) return;
    const uint first = row_set == kTokens ? 0 : step.n_tokens - step.n_outputs;
    result.at[row * n_cols + column] = x.at[(first + row) * n_cols + column];
}
