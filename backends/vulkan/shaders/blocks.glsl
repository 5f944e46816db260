// Turns blocks of the model file into small integers. The unit is an item: 32 weights as two runs of 16 neighbours, so
// that every stored word belongs to one item, or to two that lie side by side. backends/cpu/kernels/unpack.h is the
// plain form.
//
// Blocks lie as in the file: at multiples of 4 bytes where their size is one, MXFP4 at any byte, others at even bytes.
// Words are loaded whole and shifted: up to 4 bytes behind a block may be read, and are not used.
// Include step.glsl first.
#extension GL_EXT_control_flow_attributes : require

// DType of memory/dtype.h
const uint kF32 = 0;
const uint kF16 = 1;
const uint kQ4_0 = 2;
const uint kQ4_1 = 3;
const uint kQ5_0 = 6;
const uint kQ5_1 = 7;
const uint kQ8_0 = 8;
const uint kQ2_K = 10;
const uint kQ3_K = 11;
const uint kQ4_K = 12;
const uint kQ5_K = 13;
const uint kQ6_K = 14;
const uint kIQ4_NL = 20;
const uint kIQ4_XS = 23;
const uint kBF16 = 30;
const uint kMXFP4 = 39;

bool is_float(uint type) { return type == kF32 || type == kF16 || type == kBF16; }

/// Sixteen weights: four signed levels a word; w[i] = scale · level[i] - min.
struct Run {
    uvec4 level;
    float scale;
    float min;
};

struct Item {
    Run low, high;
};

/// Where the item's two runs begin in the row, in units of 16 weights.
uvec2 runs_of(uint type, uint item) {
    const uint block = item / 8, i = item % 8;
    switch (type) {
        case kQ4_K:
        case kQ5_K: {
            const uint low = 16 * block + 4 * (i / 2) + i % 2;
            return uvec2(low, low + 2);
        }
        case kQ6_K: {
            const uint low = 16 * block + 8 * (i / 4) + 2 * (i / 2 % 2) + i % 2;
            return uvec2(low, low + 4);
        }
        case kQ2_K:
        case kQ3_K: {
            const uint low = 16 * block + 8 * (i / 4) + 4 * (i / 2 % 2) + i % 2;
            return uvec2(low, low + 2);
        }
        default: return uvec2(2 * item, 2 * item + 1);
    }
}

Words words_at(uint64_t address) { return Words(address & ~uint64_t(3)); }
uint shift_of(uint64_t address) { return 8 * (uint(address) & 3); }

/// The word that begins `shift` bits into `low`.
uint funnel(uint low, uint high, uint shift) { return low >> shift | high << 1 << (31 - shift); }
uvec4 funnel(uvec4 low, uint last, uint shift) {
    return low >> shift | uvec4(low.yzw, last) << 1 << (31 - shift);
}

uint load_byte(uint64_t address) { return words_at(address).at[0] >> shift_of(address) & 0xff; }
/// For an even address.
uint load_half(uint64_t address) { return words_at(address).at[0] >> shift_of(address) & 0xffff; }
uint load_word(uint64_t address) {
    Words words = words_at(address);
    return funnel(words.at[0], words.at[1], shift_of(address));
}
uvec4 four_words(Words words, uint i) {
    return uvec4(words.at[i], words.at[i + 1], words.at[i + 2], words.at[i + 3]);
}
/// Sixteen bytes from any address.
uvec4 load_16(uint64_t address) {
    Words words = words_at(address);
    return funnel(four_words(words, 0), words.at[4], shift_of(address));
}

float half_of(uint bits) { return unpackHalf2x16(bits).x; }

/// Subtracts `offset` from each byte; bytes must be below 128.
uvec4 subtract_from_each(uvec4 bytes, uint offset) {
    return (bytes | 0x80808080u) - offset * 0x01010101u ^ 0x80808080u;
}
uvec4 low_nibbles(uvec4 bytes) { return bytes & 0x0f0f0f0fu; }
uvec4 high_nibbles(uvec4 bytes) { return bytes >> 4 & 0x0f0f0f0fu; }

/// Spreads four bits over the bytes of a word: bit i becomes bit 4 of byte i.
uint spread_bits(uint bits) { return (bits & 1) << 4 | (bits & 2) << 11 | (bits & 4) << 18 | (bits & 8) << 25; }
uvec4 spread_bits_16(uint bits) {
    return uvec4(spread_bits(bits), spread_bits(bits >> 4), spread_bits(bits >> 8), spread_bits(bits >> 12));
}

uint iq4_levels(uint nibbles) {
    uint levels = 0;
    [[unroll]] for (uint i = 0; i < 32; i += 8) {
        const uint n = nibbles >> i & 15;
        const uint table = n < 8 ? (n < 4 ? 0xbfad9881u : 0xf6eaddcfu) : (n < 12 ? 0x26190d01u : 0x71594535u);
        levels |= (table >> 8 * (n & 3) & 0xff) << i;
    }
    return levels;
}
uvec4 iq4_levels(uvec4 nibbles) {
    return uvec4(iq4_levels(nibbles.x), iq4_levels(nibbles.y), iq4_levels(nibbles.z), iq4_levels(nibbles.w));
}

uint mxfp4_levels(uint nibbles) {
    uint levels = 0;
    [[unroll]] for (uint i = 0; i < 32; i += 8) {
        const uint n = nibbles >> i & 15;
        const uint magnitude = 0xc8643210u >> 4 * (n & 7) & 15;
        levels |= ((n < 8 ? magnitude : 0u - magnitude) & 0xff) << i;
    }
    return levels;
}
uvec4 mxfp4_levels(uvec4 nibbles) {
    return uvec4(mxfp4_levels(nibbles.x), mxfp4_levels(nibbles.y), mxfp4_levels(nibbles.z), mxfp4_levels(nibbles.w));
}

Item item_of(uvec4 low, uvec4 high, float scale, float min) {
    return Item(Run(low, scale, min), Run(high, scale, min));
}

/// Two bytes, then sixteen, from an even address: Q4_0 and IQ4_NL.
void load_half_and_16(uint64_t address, out uint head, out uvec4 body) {
    Words words = words_at(address);
    const uvec4 first = four_words(words, 0);
    const uint last = words.at[4];
    const bool odd = (uint(address) & 2) != 0;
    head = first.x >> (odd ? 16 : 0) & 0xffff;
    body = odd ? uvec4(first.yzw, last) : funnel(first, last, 16);
}

Item load_q4_0(uint64_t row, uint item) {
    uint d;
    uvec4 qs;
    load_half_and_16(row + 18 * item, d, qs);
    return item_of(subtract_from_each(low_nibbles(qs), 8), subtract_from_each(high_nibbles(qs), 8), half_of(d), 0);
}

Item load_q4_1(uint64_t row, uint item) {
    Words words = Words(row + 20 * item);
    const vec2 d_and_m = unpackHalf2x16(words.at[0]);
    const uvec4 qs = four_words(words, 1);
    return item_of(low_nibbles(qs), high_nibbles(qs), d_and_m.x, -d_and_m.y);
}

Item load_q5_0(uint64_t row, uint item) {
    const uint64_t block = row + 22 * item;
    Words words = words_at(block);
    const bool odd = (uint(block) & 2) != 0;
    const uint first = words.at[0], second = words.at[1];
    const uvec4 rest = four_words(words, 2);
    const uint d = odd ? first >> 16 : first & 0xffff;
    const uint qh = odd ? second : funnel(first, second, 16);
    const uvec4 qs = odd ? rest : funnel(uvec4(second, rest.xyz), rest.w, 16);
    return item_of(subtract_from_each(low_nibbles(qs) | spread_bits_16(qh), 16),
                   subtract_from_each(high_nibbles(qs) | spread_bits_16(qh >> 16), 16), half_of(d), 0);
}

Item load_q5_1(uint64_t row, uint item) {
    Words words = Words(row + 24 * item);
    const vec2 d_and_m = unpackHalf2x16(words.at[0]);
    const uint qh = words.at[1];
    const uvec4 qs = four_words(words, 2);
    return item_of(low_nibbles(qs) | spread_bits_16(qh), high_nibbles(qs) | spread_bits_16(qh >> 16), d_and_m.x,
                   -d_and_m.y);
}

Item load_q8_0(uint64_t row, uint item) {
    const uint64_t block = row + 34 * item;
    Words words = words_at(block);
    const bool odd = (uint(block) & 2) != 0;
    const uvec4 first = four_words(words, 0), second = four_words(words, 4);
    const uint last = words.at[8];
    const uint d = odd ? first.x >> 16 : first.x & 0xffff;
    return item_of(odd ? uvec4(first.yzw, second.x) : funnel(first, second.x, 16),
                   odd ? uvec4(second.yzw, last) : funnel(second, last, 16), half_of(d), 0);
}

Item load_iq4_nl(uint64_t row, uint item) {
    uint d;
    uvec4 qs;
    load_half_and_16(row + 18 * item, d, qs);
    return item_of(iq4_levels(low_nibbles(qs)), iq4_levels(high_nibbles(qs)), half_of(d), 0);
}

Item load_mxfp4(uint64_t row, uint item) {
    const uint64_t block = row + 17 * item;
    Words words = words_at(block);
    const uvec4 first = four_words(words, 0);
    const uint last = words.at[4];
    const uint shift = shift_of(block);
    const uint e = first.x >> shift & 0xff;
    const uvec4 qs = shift == 24 ? uvec4(first.yzw, last) : funnel(first, last, shift + 8);
    const float scale = uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    return item_of(mxfp4_levels(low_nibbles(qs)), mxfp4_levels(high_nibbles(qs)), scale, 0);
}

/// The scale and minimum of group k of 32, from the twelve bytes that hold eight of each in six bits.
uvec2 six_bit_scales(uvec3 bytes, uint k) {
    const uint shift = 8 * (k % 4);
    const uvec3 b = bytes >> shift & 0xff;
    return k < 4 ? b.xy & 63 : uvec2(b.z & 15 | b.x >> 6 << 4, b.z >> 4 | b.y >> 6 << 4);
}

Item load_q4_k(uint64_t row, uint item) {
    Words words = Words(row + 144 * (item / 8));
    const uint i = item % 8, group = i / 2 * 2;
    const uvec4 head = four_words(words, 0);
    const uvec4 qs = four_words(words, 4 + 4 * i);
    const vec2 d = unpackHalf2x16(head.x);
    const vec2 first = d * vec2(six_bit_scales(head.yzw, group));
    const vec2 second = d * vec2(six_bit_scales(head.yzw, group + 1));
    return Item(Run(low_nibbles(qs), first.x, first.y), Run(high_nibbles(qs), second.x, second.y));
}

Item load_q5_k(uint64_t row, uint item) {
    Words words = Words(row + 176 * (item / 8));
    const uint i = item % 8, group = i / 2 * 2;
    const uvec4 head = four_words(words, 0);
    const uvec4 qh = four_words(words, 4 + 4 * (i % 2)) >> group;
    const uvec4 qs = four_words(words, 12 + 4 * i);
    const vec2 d = unpackHalf2x16(head.x);
    const vec2 first = d * vec2(six_bit_scales(head.yzw, group));
    const vec2 second = d * vec2(six_bit_scales(head.yzw, group + 1));
    return Item(Run(low_nibbles(qs) | (qh & 0x01010101u) << 4, first.x, first.y),
                Run(high_nibbles(qs) | (qh >> 1 & 0x01010101u) << 4, second.x, second.y));
}

Item load_q6_k(uint64_t row, uint item) {
    const uint64_t block = row + 210 * (item / 8);
    const uint i = item % 8, half_block = i / 4, quarter = i / 2 % 2, l = i % 2;
    const uvec4 ql = load_16(block + 16 * i);
    const uvec4 qh = load_16(block + 128 + 32 * half_block + 16 * l) >> 2 * quarter;
    const uint64_t scales = block + 192 + 8 * half_block + 2 * quarter + l;
    const float d = half_of(load_half(block + 208));
    const uvec4 low = low_nibbles(ql) | (qh & 0x03030303u) << 4;
    const uvec4 high = high_nibbles(ql) | (qh >> 4 & 0x03030303u) << 4;
    return Item(Run(subtract_from_each(low, 32), d * float(bitfieldExtract(int(load_byte(scales)), 0, 8)), 0),
                Run(subtract_from_each(high, 32), d * float(bitfieldExtract(int(load_byte(scales + 4)), 0, 8)), 0));
}

Item load_q2_k(uint64_t row, uint item) {
    Words words = Words(row + 84 * (item / 8));
    const uint i = item % 8, half_block = i / 4, l = i % 2;
    const uint first = 8 * half_block + 4 * (i / 2 % 2) + l, second = first + 2;
    const uvec4 qs = four_words(words, 4 + 8 * half_block + 4 * l) >> 4 * (i / 2 % 2);
    const vec2 d = unpackHalf2x16(words.at[20]);
    const uint first_scale = words.at[first / 4] >> 8 * (first % 4) & 0xff;
    const uint second_scale = words.at[second / 4] >> 8 * (second % 4) & 0xff;
    return Item(Run(qs & 0x03030303u, d.x * float(first_scale & 15), d.y * float(first_scale >> 4)),
                Run(qs >> 2 & 0x03030303u, d.x * float(second_scale & 15), d.y * float(second_scale >> 4)));
}

float q3_scale(uint64_t scales, uint k) {
    const uint low = load_byte(scales + k % 8) >> k / 8 * 4 & 15;
    const uint high = load_byte(scales + 8 + k % 4) >> k / 4 * 2 & 3;
    return float(int(low | high << 4) - 32);
}

Item load_q3_k(uint64_t row, uint item) {
    const uint64_t block = row + 110 * (item / 8);
    const uint i = item % 8, half_block = i / 4, pair = i / 2 % 2, l = i % 2;
    const uvec4 third = load_16(block + 16 * l) >> 4 * half_block + 2 * pair;
    const uvec4 qs = load_16(block + 32 + 32 * half_block + 16 * l) >> 4 * pair;
    const uint first = 8 * half_block + 4 * pair + l;
    const float d = half_of(load_half(block + 108));
    const uvec4 low = qs & 0x03030303u | (third & 0x01010101u) << 2;
    const uvec4 high = qs >> 2 & 0x03030303u | (third >> 1 & 0x01010101u) << 2;
    return Item(Run(subtract_from_each(low, 4), d * q3_scale(block + 96, first), 0),
                Run(subtract_from_each(high, 4), d * q3_scale(block + 96, first + 2), 0));
}

Item load_iq4_xs(uint64_t row, uint item) {
    Words words = Words(row + 136 * (item / 8));
    const uint i = item % 8, head = words.at[0];
    const uvec4 qs = four_words(words, 2 + 4 * i);
    const uint low = words.at[1] >> 4 * i & 15, high = head >> 16 + 2 * i & 3;
    const float scale = half_of(head & 0xffff) * float(int(low | high << 4) - 32);
    return item_of(iq4_levels(low_nibbles(qs)), iq4_levels(high_nibbles(qs)), scale, 0);
}

/// Item `item` of the row of quantised weights at `row`. `type` is a constant: one branch remains.
Item load_item(uint type, uint64_t row, uint item) {
    switch (type) {
        case kQ4_0: return load_q4_0(row, item);
        case kQ4_1: return load_q4_1(row, item);
        case kQ5_0: return load_q5_0(row, item);
        case kQ5_1: return load_q5_1(row, item);
        case kQ8_0: return load_q8_0(row, item);
        case kQ2_K: return load_q2_k(row, item);
        case kQ3_K: return load_q3_k(row, item);
        case kQ4_K: return load_q4_k(row, item);
        case kQ5_K: return load_q5_k(row, item);
        case kQ6_K: return load_q6_k(row, item);
        case kIQ4_NL: return load_iq4_nl(row, item);
        case kIQ4_XS: return load_iq4_xs(row, item);
        default: return load_mxfp4(row, item);
    }
}

/// Four levels as numbers.
ivec4 levels_of(uint word) {
    const int bits = int(word);
    return ivec4(bitfieldExtract(bits, 0, 8), bitfieldExtract(bits, 8, 8), bitfieldExtract(bits, 16, 8), bits >> 24);
}

/// One weight of F32, F16 or BF16.
float load_float(uint type, uint64_t row, uint i) {
    if (type == kF32) return Floats(row).at[i];
    const uint bits = load_half(row + 2 * i);
    return type == kF16 ? half_of(bits) : uintBitsToFloat(bits << 16);
}

/// The 32 weights from 32 · item on of a row of n F32, F16 or BF16 weights; zeros beyond its end.
void load_floats(uint type, uint64_t row, uint item, uint n, out vec4 w[8]) {
    const uint first = 32 * item;
    if (first + 32 > n) {
        [[unroll]] for (uint i = 0; i < 32; ++i) w[i / 4][i % 4] = first + i < n ? load_float(type, row, first + i) : 0;
    } else if (type == kF32) {
        Floats from = Floats(row + 128 * item);
        [[unroll]] for (uint i = 0; i < 8; ++i)
            w[i] = vec4(from.at[4 * i], from.at[4 * i + 1], from.at[4 * i + 2], from.at[4 * i + 3]);
    } else {
        const uint64_t from = row + 64 * item;
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            const uvec4 halves = load_16(from + 16 * i);
            [[unroll]] for (uint j = 0; j < 2; ++j) {
                const uvec2 words = j == 0 ? halves.xy : halves.zw;
                w[2 * i + j] = type == kF16
                                   ? vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y))
                                   : uintBitsToFloat(uvec4(words.x << 16, words.x & 0xffff0000u, words.y << 16,
                                                           words.y & 0xffff0000u));
            }
        }
    }
}

/// The values of an item of any type, in the order of its runs: see runs_of.
void load_weights(uint type, uint64_t row, uint item, uint n, out vec4 w[8]) {
    if (is_float(type)) {
        load_floats(type, row, item, n, w);
        return;
    }
    const Item from = load_item(type, row, item);
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        w[i] = from.low.scale * vec4(levels_of(from.low.level[i])) - from.low.min;
        w[4 + i] = from.high.scale * vec4(levels_of(from.high.level[i])) - from.high.min;
    }
}
