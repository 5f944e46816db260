// Writes rows of keys or values to the cache where their sequences' pages have them, converted to its type. Items of a
// row along x, tokens along y.
// variant f32: -DITEM=1
// variant f16: -DITEM=2 -DF16
// variant q8_0: -DITEM=32 -DQ8_0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#ifdef Q8_0
#extension GL_EXT_shader_16bit_storage : require
layout(buffer_reference, std430, buffer_reference_align = 2) writeonly buffer Halves { uint16_t at[]; };
#endif
#include "half.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
    Step step;
    Floats x;
    uint64_t cache;
    uint n_cols;
    uint row_bytes;
};

void main() {
    const uint item = gl_GlobalInvocationID.x;
    const uint token = gl_WorkGroupID.y;
    if (item * ITEM >= n_cols || token >= step.n_tokens) return;
    const uint from = token * n_cols + item * ITEM, to = Words(step.kv_rows).at[token];
    if (to == kNowhere) return;
    const uint64_t row = cache + uint64_t(to) * row_bytes;
#if defined(F16)
    WordsOut(row).at[item] = half_bits(x.at[from]) | half_bits(x.at[from + 1]) << 16;
#elif defined(Q8_0)
    // A block: f16 scale, then 32 bytes. Blocks of 34 bytes begin at even addresses: it is written in 16-bit units.
    Halves block = Halves(row + uint64_t(item) * 34);
    uint largest = 0;  // magnitudes as integers, which order as floats do, infinity and NaN above all others
    for (uint i = 0; i < 32; ++i) largest = max(largest, floatBitsToUint(x.at[from + i]) & 0x7fffffff);
    const bool finite = largest < 0x7f800000;
    const float scale = finite ? uintBitsToFloat(largest) / 127.0 : 0.0;
    const float inverse = scale > 0 ? 1.0 / scale : 0.0;
    block.at[0] = uint16_t(finite ? half_bits(scale) : 0x7e00);
    for (uint i = 0; i < 32; i += 2) {
        const uint low = uint(int(roundEven(x.at[from + i] * inverse))) & 0xff;
        const uint high = uint(int(roundEven(x.at[from + i + 1] * inverse))) & 0xff;
        block.at[1 + i / 2] = uint16_t(finite ? low | high << 8 : 0);
    }
#else
    WordsOut(row).at[item] = floatBitsToUint(x.at[from]);
#endif
}
