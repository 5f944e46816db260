// A token's choice of experts from the router's logits: one group a token. p = sigmoid(logit); the largest of p + bias,
// ties and NaN to the lower index; weights p / (their sum + 1e-6) · scale.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"

layout(constant_id = 0) const uint kExperts = 1;
layout(constant_id = 1) const uint kUsed = 1;
layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
    Step step;
    Floats logits;
    uint64_t bias;  // 0: none
    WordsOut ids;
    FloatsInOut weights;
    float scale;
    uint moe_layer;
};

shared float p[kExperts];
shared float score[kExperts];
shared uint chosen[kUsed];
shared uint unordered;  // a score is NaN

/// Chooses one by one, as NaN requires: such a score is never larger than another, yet is chosen if it comes first.
void choose_serially() {
    for (uint j = 0; j < kUsed; ++j) {
        uint best = kExperts;
        for (uint e = 0; e < kExperts; ++e) {
            bool taken = false;
            for (uint i = 0; i < j; ++i) taken = taken || chosen[i] == e;
            if (!taken && (best == kExperts || score[e] > score[best])) best = e;
        }
        chosen[j] = best;
    }
}

/// How many experts come before e.
uint rank_of(uint e) {
    const float mine = score[e];
    uint rank = 0;
    for (uint i = 0; i < kExperts; ++i)
        if (score[i] > mine || score[i] == mine && i < e) ++rank;
    return rank;
}

void main() {
    const uint t = gl_WorkGroupID.x, me = gl_LocalInvocationID.x;
    if (t >= step.n_tokens) return;
    if (me == 0) unordered = 0;
    barrier();
    for (uint e = me; e < kExperts; e += gl_WorkGroupSize.x) {
        p[e] = 1.0 / (1.0 + exp(-logits.at[t * kExperts + e]));
        score[e] = bias != 0 ? p[e] + Floats(bias).at[e] : p[e];
        // not isnan(), which a driver may assume to be false
        if ((floatBitsToUint(score[e]) & 0x7fffffff) > 0x7f800000) atomicOr(unordered, 1);
    }
    barrier();
    if (step.has_forced != 0) {
        Ints forced = Ints(step.forced_experts);
        const uint first = (moe_layer * step.n_tokens + t) * kUsed;
        for (uint j = me; j < kUsed; j += gl_WorkGroupSize.x)
            chosen[j] = min(uint(forced.at[first + j]), kExperts - 1);
    } else if (unordered != 0) {
        if (me == 0) choose_serially();
    } else {
        for (uint e = me; e < kExperts; e += gl_WorkGroupSize.x) {
            const uint rank = rank_of(e);
            if (rank < kUsed) chosen[rank] = e;
        }
    }
    barrier();
    float sum = 0;
    for (uint j = 0; j < kUsed; ++j) sum += p[chosen[j]];
    for (uint j = me; j < kUsed; j += gl_WorkGroupSize.x) {
        ids.at[t * kUsed + j] = chosen[j];
        weights.at[t * kUsed + j] = p[chosen[j]] * (scale / (sum + 1e-6));
    }
}
