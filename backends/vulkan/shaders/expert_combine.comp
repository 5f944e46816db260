// Many tokens: out[t] = Σ weight · expert_out[row of (t, j)] over the choices j of the set, in their order.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
    Step step;
    Words row_of;
    Floats weights;
    Floats expert_out;
    FloatsInOut result;
    uint n_used;
    uint n_out;
};

void main() {
    const uint i = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
    if (i >= n_out || t >= step.n_tokens) return;
    float sum = 0;
    for (uint j = 0; j < n_used; ++j) {
        const uint row = row_of.at[t * n_used + j];
        if (row != ~0u) sum = fma(weights.at[t * n_used + j], expert_out.at[row * n_out + i], sum);
    }
    result.at[t * n_out + i] = sum;
}
