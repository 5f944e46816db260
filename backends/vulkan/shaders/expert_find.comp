// The experts of one token's choice: found[j] for choice j.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "expert_table.glsl"
#include "expert_find.glsl"

layout(local_size_x = 32) in;
layout(push_constant) uniform Push {
    ExpertSource source;
    Ints ids;
    ExpertsOut found;
    uint n_used;
};

void main() {
    for (uint j = gl_LocalInvocationID.x; j < n_used; j += gl_WorkGroupSize.x)
        found.at[j] = find_expert(source, uint(ids.at[j]));
}
