// out = a + b: elements of a row along x, rows along y.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
    Step step;
    Floats a;
    Floats b;
    FloatsInOut result;
    uint n_cols;
};

void main() {
    const uint column = gl_GlobalInvocationID.x;
    if (column >= n_cols || gl_WorkGroupID.y >= step.n_tokens) return;
    const uint i = gl_WorkGroupID.y * n_cols + column;
    result.at[i] = a.at[i] + b.at[i];
}
