// The gated short convolution. Channels along x, tokens along y. A sequence's last rows stand in a ring, in which the
// step's rows follow those that the step reads (backends/needs/conv_ring.h).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
    Step step;
    Floats bcx;        // [n, 3 · n_embd]: B, C, X
    Floats taps;       // [n_embd, l_cache]
    FloatsInOut ring;  // [n_slots, n_embd]
    FloatsInOut result;
    uint n_embd;
    uint l_cache;
    uint n_slots;
};

/// The slot of row i: the rows of the window from 0 on, then the rows that the step keeps.
uint slot(uint i) {
    const uint at = step.window + i;
    return at < n_slots ? at : at - n_slots;
}

float gated(uint token, uint channel) {
    const uint first = token * 3 * n_embd + channel;
    return bcx.at[first] * bcx.at[first + 2 * n_embd];
}

/// s = B ⊙ X of a row, counted from the beginning of the window: its rows first, then the step's.
float counted(uint row, uint channel) {
    const uint n_past = l_cache - 1;
    if (row >= n_past) return gated(row - n_past, channel);
    return step.position + row < n_past ? 0.0 : ring.at[slot(row) * n_embd + channel];
}

void main() {
    const uint channel = gl_GlobalInvocationID.x;
    const uint token = gl_WorkGroupID.y;
    if (channel >= n_embd || token >= step.n_tokens) return;
    float sum = 0;
    for (uint j = 0; j < l_cache; ++j) sum = fma(taps.at[channel * l_cache + j], counted(token + j, channel), sum);
    result.at[token * n_embd + channel] = bcx.at[token * 3 * n_embd + n_embd + channel] * sum;
    const uint n_past = l_cache - 1, n_kept = min(step.n_tokens, n_slots - n_past);
    if (token + n_kept >= step.n_tokens)
        ring.at[slot(n_past + token + n_kept - step.n_tokens) * n_embd + channel] = gated(token, channel);
}
