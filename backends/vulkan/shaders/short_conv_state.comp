// The state after the step, once every token has read the one before. Channels along x.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "short_conv.glsl"

layout(local_size_x = 64) in;

void main() {
    const uint channel = gl_GlobalInvocationID.x;
    if (channel < n_embd) keep_last(channel);
}
