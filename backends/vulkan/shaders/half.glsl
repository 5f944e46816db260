/// The f16 nearest to x, ties to even: packHalf2x16 may round otherwise.
uint half_bits(float x) {
    const uint bits = floatBitsToUint(x);
    const uint sign = bits >> 16 & 0x8000;
    const uint magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7e00;
    if (magnitude >= 0x47800000) return sign | 0x7c00;
    // Below 2^-14 a unit is 2^-24, as it is for floats from 0.5 on: the addition rounds.
    if (magnitude < 0x38800000) return sign | floatBitsToUint(uintBitsToFloat(magnitude) + 0.5) - 0x3f000000;
    return sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
}
