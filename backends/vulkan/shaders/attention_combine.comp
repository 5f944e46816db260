// Joins the results that attention.comp left for each split of the keys of a sequence's single token: one group for each
// query head along x, such tokens along y.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "attention_split.glsl"

layout(constant_id = 0) const uint kHeadDim = 64;
layout(constant_id = 1) const uint kSplits = 1;
layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
    Step step;
    Floats parts;
    FloatsInOut result;
};

void main() {
    const SequenceRows sequence = step.sequences[gl_WorkGroupID.y];
    const uint n_keys = sequence.position + 1, each = keys_per_split(n_keys, kSplits);
    const uint n_splits = (n_keys + each - 1) / each, n_head = gl_NumWorkGroups.x;
    const uint first = (gl_WorkGroupID.y * n_head + gl_WorkGroupID.x) * kSplits * (kHeadDim + 2);
    float largest = -3.4e38;
    for (uint s = 0; s < n_splits; ++s) largest = max(largest, parts.at[first + (s + 1) * (kHeadDim + 2) - 1]);
    for (uint i = gl_LocalInvocationID.x; i < kHeadDim; i += gl_WorkGroupSize.x) {
        float sum = 0, total = 0;
        for (uint s = 0; s < n_splits; ++s) {
            const uint at = first + s * (kHeadDim + 2);
            const float weight = exp(parts.at[at + kHeadDim + 1] - largest);
            sum = fma(weight, parts.at[at + i], sum);
            total = fma(weight, parts.at[at + kHeadDim], total);
        }
        result.at[(sequence.first_row * n_head + gl_WorkGroupID.x) * kHeadDim + i] = sum / total;
    }
}
