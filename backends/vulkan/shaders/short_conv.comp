// Channels along x, tokens along y. The state is read by all tokens, so only a step of one token writes it here.
// variant one: -DONE
// variant many:
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "short_conv.glsl"

layout(local_size_x = 64) in;

void main() {
    const uint channel = gl_GlobalInvocationID.x;
    const uint token = gl_WorkGroupID.y;
    if (channel >= n_embd || token >= step.n_tokens) return;
    result.at[token * n_embd + channel] = convolved(token, channel);
#ifdef ONE
    keep_last(channel);
#endif
}
