// Activations to 8 bits in blocks of 32, one block an invocation: scale = max|x| / 127, q = x / scale rounded to
// nearest even (backends/cpu/kernels/kernels.h has the definition).
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "step.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
    Step step;
    Floats x;
    WordsOut q;
    WordsOut scales;  // f32
    WordsOut sums;
    uint n_cols;
    uint row_set;
    uint rows_each;  // rows of x for each row of the set
};

/// Correctly rounded except in rare cases; a plain division need not be.
vec4 divide(vec4 a, float b) {
    const vec4 quotient = a / b;
    precise const vec4 rest = fma(-quotient, vec4(b), a);
    return quotient + rest / b;
}

void main() {
    const uint block = gl_GlobalInvocationID.x, n_blocks = n_cols / 32;
    const uint row = gl_WorkGroupID.y;
    if (block >= n_blocks || row >= rows_of(step, row_set) * rows_each) return;
    const uint at = row * n_blocks + block;
    vec4 values[8];
    uvec4 magnitudes = uvec4(0);  // as integers, which order as floats do, infinity and NaN above all others
    [[unroll]] for (uint i = 0; i < 8; ++i) {
        [[unroll]] for (uint j = 0; j < 4; ++j) values[i][j] = x.at[32 * at + 4 * i + j];
        magnitudes = max(magnitudes, floatBitsToUint(values[i]) & 0x7fffffff);
    }
    const uint largest = max(max(magnitudes.x, magnitudes.y), max(magnitudes.z, magnitudes.w));
    const bool finite = largest < 0x7f800000;
    float scale = finite ? divide(vec4(uintBitsToFloat(largest)), 127.0).x : 0;
    if (scale < 1.17549435e-38) scale = 0;  // a subnormal scale is too coarse to keep |q| within 127
    uint sum = 0;
    [[unroll]] for (uint half_block = 0; half_block < 2; ++half_block) {
        int total = 0;
        [[unroll]] for (uint i = 4 * half_block; i < 4 * half_block + 4; ++i) {
            const ivec4 levels = scale == 0 ? ivec4(0) : ivec4(roundEven(divide(values[i], scale)));
            total += levels.x + levels.y + levels.z + levels.w;
            const uvec4 bytes = uvec4(levels & 0xff);
            q.at[8 * at + i] = bytes.x | bytes.y << 8 | bytes.z << 16 | bytes.w << 24;
        }
        sum |= uint(total & 0xffff) << 16 * half_block;
    }
    scales.at[at] = finite ? floatBitsToUint(scale) : 0x7fc00000;
    sums.at[at] = sum;
}
