// Causal grouped-query attention with a running softmax. A group takes the query heads that share one key/value head,
// or a part of them, for a tile of a sequence's tokens: its rows. Where a sequence has one token in the step, the groups
// share out its keys instead of tokens, and attention_combine.comp joins their results.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "blocks.glsl"
#include "attention_split.glsl"

layout(constant_id = 0) const uint kHeadDim = 64;
layout(constant_id = 1) const uint kHeads = 4;       // of a group
layout(constant_id = 2) const uint kHeadsShare = 4;  // query heads that share one key/value head
layout(constant_id = 3) const uint kTileTokens = 8;  // of a group
layout(constant_id = 4) const uint kTileKeys = 32;
layout(constant_id = 5) const uint kKeyType = 1;
layout(constant_id = 6) const uint kValueType = 1;
// Of the keys of a sequence's single token; 1: complete results. 0: tiles of tokens, of the other sequences.
layout(constant_id = 7) const uint kSplits = 0;
layout(local_size_x = 128) in;
layout(push_constant) uniform Push {
    Step step;
    Floats q;
    uint64_t keys;
    uint64_t values;
    FloatsInOut result;  // splits: [n_singles, n_head, kSplits, head_dim + 2]: weighted sum, total weight, largest score
    uint n_head_kv;
    uint head_key_bytes;
    uint head_value_bytes;
};

const uint kThreads = 128;
const uint kRows = kHeads * kTileTokens;  // at most 32
const uint kVectors = kHeadDim / 4;
const uint kStride = kVectors + 1;  // of a key in shared memory, so that neighbours lie in different banks
const float kLowest = -3.4e38;

// Scores: an invocation takes one key and every kScoreStep-th row.
const uint kScoreStep = kThreads / kTileKeys;
const uint kScoreRows = (kRows + kScoreStep - 1) / kScoreStep;
// Weights: this many invocations share a row.
const uint kRowThreads = kThreads / kRows;
// Results: an invocation takes four columns and every kOutStep-th row.
const uint kOutStep = kThreads / kVectors;
const uint kOutRows = (kRows + kOutStep - 1) / kOutStep;

shared vec4 queries[kRows * kVectors];
shared vec4 cached[kTileKeys * kStride];
shared float scores[kRows * kTileKeys];
shared float weights[kRows * kTileKeys];
shared float shrinks[kRows];
shared float largests[kRows];

// The group's tokens.
uint first_token;  // of the step
uint n_tokens;
uint first_position;  // in their sequence
uint64_t pages;

struct Row {
    uint token;  // of the group's
    uint head;   // of all query heads
    bool exists;
};
Row row_of(uint row) {
    const uint token = row / kHeads, head = gl_WorkGroupID.z * kHeads + row % kHeads;
    return Row(min(token, n_tokens - 1), gl_WorkGroupID.y * kHeadsShare + min(head, kHeadsShare - 1),
               token < n_tokens && head < kHeadsShare);
}

/// False for a group beyond the last sequence's end.
bool find_tokens() {
    uint i = kSplits > 0 ? gl_WorkGroupID.x / kSplits : step.n_singles, tile = 0;
    if (kSplits == 0) {
        tile = gl_WorkGroupID.x;
        for (; i < step.n_sequences; ++i) {
            const uint n_tiles = (step.sequences[i].n_rows + kTileTokens - 1) / kTileTokens;
            if (tile < n_tiles) break;
            tile -= n_tiles;
        }
        if (i >= step.n_sequences) return false;
    }
    const SequenceRows sequence = step.sequences[i];
    const uint first = tile * kTileTokens;
    first_token = sequence.first_row + first;
    n_tokens = min(kTileTokens, sequence.n_rows - first);
    first_position = sequence.position + first;
    pages = sequence.pages;
    return true;
}

vec4 load_four(uint type, uint64_t head, uint i) {
    if (type == kF16) return vec4(unpackHalf2x16(Words(head).at[2 * i]), unpackHalf2x16(Words(head).at[2 * i + 1]));
    if (type == kF32) {
        Floats from = Floats(head);
        return vec4(from.at[4 * i], from.at[4 * i + 1], from.at[4 * i + 2], from.at[4 * i + 3]);
    }
    const uint64_t block = head + 34 * (i / 8);
    return half_of(load_half(block)) * vec4(levels_of(load_word(block + 2 + 4 * (i % 8))));
}

/// Loads keys or values from position `first` on into shared memory, zeros from `end` on.
void load_tile(uint type, uint64_t cache, uint head_bytes, uint first, uint end) {
    for (uint i = gl_LocalInvocationIndex; i < kTileKeys * kVectors; i += kThreads) {
        const uint position = first + i / kVectors;
        const uint64_t row = kv_row(pages, min(position, end - 1));
        const uint64_t head = cache + (row * n_head_kv + gl_WorkGroupID.y) * head_bytes;
        cached[i / kVectors * kStride + i % kVectors] = position < end ? load_four(type, head, i % kVectors) : vec4(0);
    }
}

void score_tile(uint first) {
    const uint key = gl_LocalInvocationIndex % kTileKeys, first_row = gl_LocalInvocationIndex / kTileKeys;
    if (first_row >= kRows) return;
    float sums[kScoreRows];
    [[unroll]] for (uint i = 0; i < kScoreRows; ++i) sums[i] = 0;
    for (uint d = 0; d < kVectors; ++d) {
        const vec4 k = cached[key * kStride + d];
        [[unroll]] for (uint i = 0; i < kScoreRows; ++i)
            sums[i] += dot(queries[min(first_row + i * kScoreStep, kRows - 1) * kVectors + d], k);
    }
    [[unroll]] for (uint i = 0; i < kScoreRows; ++i) {
        const uint row = first_row + i * kScoreStep;
        if (row < kRows) scores[row * kTileKeys + key] = sums[i];
    }
}

/// Turns scores into weights relative to the largest score so far, and returns that score.
float weigh_tile(float largest, uint first, uint end) {
    const uint row = gl_LocalInvocationIndex / kRowThreads, part = gl_LocalInvocationIndex % kRowThreads;
    if (row >= kRows) return largest;
    const uint n = min(end, first_position + row_of(row).token + 1) - first;  // keys the row attends to; below 0: none
    float now = largest;
    for (uint key = 0; key < kTileKeys; ++key)
        if (int(key) < int(n)) now = max(now, scores[row * kTileKeys + key]);
    for (uint key = part; key < kTileKeys; key += kRowThreads)
        weights[row * kTileKeys + key] = int(key) < int(n) ? exp(scores[row * kTileKeys + key] - now) : 0;
    if (part == 0) {
        shrinks[row] = exp(largest - now);
        largests[row] = now;
    }
    return now;
}

struct Results {
    vec4 sums[kOutRows];
    float totals[kOutRows];
};

void add_tile(inout Results results) {
    const uint column = gl_LocalInvocationIndex % kVectors, first_row = gl_LocalInvocationIndex / kVectors;
    if (first_row >= min(kOutStep, kRows)) return;
    [[unroll]] for (uint i = 0; i < kOutRows; ++i) {
        const float shrink = shrinks[min(first_row + i * kOutStep, kRows - 1)];
        results.sums[i] *= shrink;
        results.totals[i] *= shrink;
    }
    for (uint key = 0; key < kTileKeys; ++key) {
        const vec4 v = cached[key * kStride + column];
        [[unroll]] for (uint i = 0; i < kOutRows; ++i) {
            const float weight = weights[min(first_row + i * kOutStep, kRows - 1) * kTileKeys + key];
            results.sums[i] = fma(vec4(weight), v, results.sums[i]);
            results.totals[i] += weight;
        }
    }
}

void write(Results results) {
    const uint column = gl_LocalInvocationIndex % kVectors, first_row = gl_LocalInvocationIndex / kVectors;
    [[unroll]] for (uint i = 0; i < kOutRows; ++i) {
        const uint row = first_row + i * kOutStep;
        if (first_row >= kOutStep || row >= kRows || !row_of(row).exists) continue;
        const uint head = row_of(row).head;
        if (kSplits <= 1) {
            const uint at = ((first_token + row_of(row).token) * n_head_kv * kHeadsShare + head) * kHeadDim + 4 * column;
            const vec4 value = results.sums[i] / results.totals[i];
            [[unroll]] for (uint j = 0; j < 4; ++j) result.at[at + j] = value[j];
        } else {
            const uint single = gl_WorkGroupID.x / kSplits, split = gl_WorkGroupID.x % kSplits;
            const uint at = ((single * n_head_kv * kHeadsShare + head) * kSplits + split) * (kHeadDim + 2);
            [[unroll]] for (uint j = 0; j < 4; ++j) result.at[at + 4 * column + j] = results.sums[i][j];
            if (column == 0) {
                result.at[at + kHeadDim] = results.totals[i];
                result.at[at + kHeadDim + 1] = largests[row];
            }
        }
    }
}

void main() {
    if (!find_tokens()) return;
    uint begin = 0, end = first_position + n_tokens;
    if (kSplits > 1) {
        const uint n = keys_per_split(end, kSplits);
        begin = gl_WorkGroupID.x % kSplits * n;
        end = min(end, begin + n);
        if (begin >= end) return;
    }
    const float scale = 1.0 / sqrt(float(kHeadDim));
    for (uint i = gl_LocalInvocationIndex; i < kRows * kVectors; i += kThreads) {
        const Row row = row_of(i / kVectors);
        const uint at = ((first_token + row.token) * n_head_kv * kHeadsShare + row.head) * kHeadDim + 4 * (i % kVectors);
        queries[i] = scale * vec4(q.at[at], q.at[at + 1], q.at[at + 2], q.at[at + 3]);
    }
    float largest = kLowest;
    Results results;
    [[unroll]] for (uint i = 0; i < kOutRows; ++i) {
        results.sums[i] = vec4(0);
        results.totals[i] = 0;
    }
    for (uint first = begin; first < end; first += kTileKeys) {
        load_tile(kKeyType, keys, head_key_bytes, first, end);
        barrier();
        score_tile(first);
        barrier();
        load_tile(kValueType, values, head_value_bytes, first, end);
        largest = weigh_tile(largest, first, end);
        barrier();
        add_tile(results);
        barrier();
    }
    write(results);
}
