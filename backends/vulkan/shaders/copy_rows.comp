// out = x bit by bit: all rows of the step or, with kOutputs, those that get logits.
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
    const uint from = row_set == kTokens ? row : Words(step.output_rows).at[row];
    result.at[row * n_cols + column] = x.at[from * n_cols + column];
}
