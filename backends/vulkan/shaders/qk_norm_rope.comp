// Heads of q and k in place: RMS norm, then rotation of pairs (i, i + head_dim / 2). One group a head: along x the heads
// of q, then those of k; tokens along y.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "reduce.glsl"

layout(local_size_x = 32) in;
layout(push_constant) uniform Push {
    Step step;
    FloatsInOut q;
    FloatsInOut k;
    Floats q_norm;
    Floats k_norm;
    uint n_head;
    uint n_head_kv;
    uint head_dim;
    float eps;
};

void main() {
    const uint token = gl_WorkGroupID.y;
    if (token >= step.n_tokens) return;
    const bool is_q = gl_WorkGroupID.x < n_head;
    const uint head = is_q ? gl_WorkGroupID.x : gl_WorkGroupID.x - n_head;
    FloatsInOut x = is_q ? q : k;
    Floats norm = is_q ? q_norm : k_norm;
    const uint first = (token * (is_q ? n_head : n_head_kv) + head) * head_dim;
    Floats rope = Floats(step.rope);
    const uint cosines = token * head_dim;

    float sum = 0;
    for (uint i = gl_LocalInvocationID.x; i < head_dim; i += gl_WorkGroupSize.x) {
        const float value = x.at[first + i];
        sum = fma(value, value, sum);
    }
    const float scale = 1.0 / sqrt(sum_of_group(sum) / float(head_dim) + eps);
    // In place: the barrier in sum_of_group separates the reads above from the writes below, and each pair is read and
    // written by one invocation.
    const uint half_dim = head_dim / 2;
    for (uint i = gl_LocalInvocationID.x; i < half_dim; i += gl_WorkGroupSize.x) {
        const float a = x.at[first + i] * scale * norm.at[i];
        const float b = x.at[first + half_dim + i] * scale * norm.at[half_dim + i];
        const float cosine = rope.at[cosines + i];
        const float sine = rope.at[cosines + half_dim + i];
        x.at[first + i] = a * cosine - b * sine;
        x.at[first + half_dim + i] = a * sine + b * cosine;
    }
}
