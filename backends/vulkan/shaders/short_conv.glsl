// The gated short convolution's operands; include step.glsl first.
layout(push_constant) uniform Push {
    Step step;
    Floats bcx;   // [n, 3 · n_embd]: B, C, X
    Floats taps;  // [n_embd, l_cache]
    FloatsInOut state;  // [l_cache − 1, n_embd]
    FloatsInOut result;
    uint n_embd;
    uint l_cache;
};

/// s = B ⊙ X of a row counted over the state's rows and then the step's.
float gated(uint row, uint channel) {
    const uint n_past = l_cache - 1;
    if (row < n_past) return step.position == 0 ? 0.0 : state.at[row * n_embd + channel];
    const uint first = (row - n_past) * 3 * n_embd + channel;
    return bcx.at[first] * bcx.at[first + 2 * n_embd];
}

float convolved(uint token, uint channel) {
    float sum = 0;
    for (uint j = 0; j < l_cache; ++j) sum = fma(taps.at[channel * l_cache + j], gated(token + j, channel), sum);
    return bcx.at[token * 3 * n_embd + n_embd + channel] * sum;
}

/// Row i becomes row n_tokens + i, which lies after it: none that is still to be read is overwritten.
void keep_last(uint channel) {
    for (uint i = 0; i < l_cache - 1; ++i) state.at[i * n_embd + channel] = gated(step.n_tokens + i, channel);
}
