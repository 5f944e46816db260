// The gated short convolution. Channels along x, tokens along y. A sequence's last rows stand in a ring, in which the
// step's rows follow those that the step reads (backends/needs/conv_ring.h); or the step begins with a saved window.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
    Step step;
    Floats bcx;        // [n, 3 · n_embd]: B, C, X
    Floats taps;       // [n_embd, l_cache]
    FloatsInOut ring;  // [rows of all rings and saved windows, n_embd]
    FloatsInOut result;
    uint n_embd;
    uint l_cache;
    uint n_slots;
};

SequenceRows own;

/// Row i of the sequence's ring: the rows of the window from 0 on, then the rows that the step keeps.
uint slot(uint i) {
    const uint at = own.window + i;
    return own.ring + (at < n_slots ? at : at - n_slots);
}

float gated(uint row, uint channel) {
    const uint first = (own.first_row + row) * 3 * n_embd + channel;
    return bcx.at[first] * bcx.at[first + 2 * n_embd];
}

/// s = B ⊙ X of a row, counted from the beginning of the window: its rows first, then the sequence's of this step.
float counted(uint row, uint channel) {
    const uint n_past = l_cache - 1;
    if (row >= n_past) return gated(row - n_past, channel);
    if (own.position + row < n_past) return 0.0;  // before the sequence's beginning
    if (own.window_from == kFromRing) return ring.at[slot(row) * n_embd + channel];
    return own.window_from == kFromSaved ? ring.at[(own.saved + row) * n_embd + channel] : 0.0;
}

/// What is written here nobody reads in this step.
void keep(uint row, uint channel) {
    const uint n_past = l_cache - 1, n_kept = min(own.n_rows, n_slots - n_past);
    if (row + n_kept >= own.n_rows)
        ring.at[slot(n_past + row + n_kept - own.n_rows) * n_embd + channel] = gated(row, channel);
    if (row + 1 != own.n_rows) return;
    if (own.window_from != kFromRing)
        for (uint i = 0; i < n_past; ++i) ring.at[slot(i) * n_embd + channel] = counted(i, channel);
    if (own.save_to != kNowhere)
        for (uint i = 0; i < n_past; ++i)
            ring.at[(own.save_to + i) * n_embd + channel] = counted(own.n_rows + i, channel);
}

void main() {
    const uint channel = gl_GlobalInvocationID.x;
    const uint token = gl_WorkGroupID.y;
    if (channel >= n_embd || token >= step.n_tokens) return;
    own = step.sequences[Words(step.row_sequences).at[token]];
    const uint row = token - own.first_row;
    float sum = 0;
    for (uint j = 0; j < l_cache; ++j) sum = fma(taps.at[channel * l_cache + j], counted(row + j, channel), sum);
    result.at[token * n_embd + channel] = bcx.at[token * 3 * n_embd + n_embd + channel] * sum;
    keep(row, channel);
}
