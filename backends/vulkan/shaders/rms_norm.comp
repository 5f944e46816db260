// out = weight · x / sqrt(mean(x²) + eps): one group a row.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "reduce.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
    Step step;
    Floats x;
    Floats weight;
    FloatsInOut result;
    uint n_cols;
    float eps;
    uint row_set;
};

void main() {
    const uint row = gl_WorkGroupID.x;
    if (row >= rows_of(step, row_set)) return;
    const uint first = row * n_cols;
    float sum = 0;
    for (uint i = gl_LocalInvocationID.x; i < n_cols; i += gl_WorkGroupSize.x) {
        const float value = x.at[first + i];
        sum = fma(value, value, sum);
    }
    const float scale = 1.0 / sqrt(sum_of_group(sum) / float(n_cols) + eps);
    for (uint i = gl_LocalInvocationID.x; i < n_cols; i += gl_WorkGroupSize.x)
        result.at[first + i] = x.at[first + i] * scale * weight.at[i];
}
