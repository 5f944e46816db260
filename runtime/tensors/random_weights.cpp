#include "runtime/tensors/random_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include <oneapi/tbb/parallel_for.h>

#include "memory/blocks.h"
#include "memory/half.h"
#include "memory/split_mix.h"

namespace lfm {
namespace {

class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() { return split_mix(state_); }
    /// In [-1, 1).
    float uniform() { return static_cast<float>(static_cast<std::int64_t>(next() >> 40) - (1 << 23)) * 0x1p-23f; }
    void fill(std::byte* to, std::size_t size) {
        for (; size >= 8; size -= 8, to += 8) {
            const std::uint64_t bits = next();
            std::memcpy(to, &bits, 8);
        }
        const std::uint64_t bits = next();
        std::memcpy(to, &bits, size);
    }

private:
    std::uint64_t state_;
};

void put_f16(std::byte* at, float value) {
    const std::uint16_t half = f32_to_f16(value);
    std::memcpy(at, &half, sizeof half);
}

/// The spread (standard deviation) of a type's values when d = 1 and all other bits are random.
float unit_spread(DType type) {
    switch (type) {
        case DType::kQ4_0:
        case DType::kQ4_1: return 4.6f;
        case DType::kQ5_0:
        case DType::kQ5_1: return 9.2f;
        case DType::kQ8_0: return 74.0f;
        case DType::kQ2_K: return 10.0f;
        case DType::kQ3_K: return 42.0f;
        case DType::kQ4_K: return 170.0f;
        case DType::kQ5_K: return 340.0f;
        case DType::kQ6_K: return 1370.0f;
        case DType::kIQ4_NL: return 62.0f;
        case DType::kIQ4_XS: return 1150.0f;
        default: return 1.0f;
    }
}

/// One block with random contents and the scale that gives values of about `spread`.
void fill_block(DType type, float spread, Random& random, std::byte* at) {
    const std::size_t size = dtype_info(type).block_bytes;
    const float d = spread / unit_spread(type);
    switch (type) {
        case DType::kF32: {
            const float value = spread * 1.73f * random.uniform();
            std::memcpy(at, &value, sizeof value);
            return;
        }
        case DType::kF16: put_f16(at, spread * 1.73f * random.uniform()); return;
        case DType::kBF16: {
            const auto bits =
                static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(spread * 1.73f * random.uniform()) >> 16);
            std::memcpy(at, &bits, sizeof bits);
            return;
        }
        default: break;
    }
    random.fill(at, size);
    switch (type) {
        case DType::kQ4_1: put_f16(at, d), put_f16(at + 2, -7.5f * d); break;
        case DType::kQ5_1: put_f16(at, d), put_f16(at + 2, -15.5f * d); break;
        case DType::kQ2_K: put_f16(at + 80, d), put_f16(at + 82, 1.5f * d); break;
        case DType::kQ3_K: put_f16(at + 108, d); break;
        case DType::kQ4_K: put_f16(at, d), put_f16(at + 2, 7.5f * d); break;
        case DType::kQ5_K: put_f16(at, d), put_f16(at + 2, 15.5f * d); break;
        case DType::kQ6_K: put_f16(at + 208, d); break;
        case DType::kMXFP4: {
            // The levels' spread is about 6.5 units; the scale is the nearest power of two.
            const int exponent = static_cast<int>(std::lround(std::log2(spread / 6.5f))) + 128;
            *at = static_cast<std::byte>(std::clamp(exponent, 0, 254));
            break;
        }
        default: put_f16(at, d); break;  // types that begin with d
    }
}

constexpr std::size_t kPiece = std::size_t{1} << 20;  // bytes filled by one task

/// Random blocks that matrices are filled with, each run of them from a random place in the pool: as good as random for
/// speed and arithmetic, and as fast as copying.
class Pool {
public:
    Pool(DType type, float spread, std::uint64_t seed) : block_bytes_(dtype_info(type).block_bytes) {
        blocks_.resize((kPiece / 4 + block_bytes_ - 1) / block_bytes_ * block_bytes_);
        Random random(seed);
        for (std::size_t at = 0; at < blocks_.size(); at += block_bytes_)
            fill_block(type, spread, random, blocks_.data() + at);
    }

    /// `to` begins at a block boundary.
    void copy(std::span<std::byte> to, std::uint64_t seed) const {
        Random random(seed);
        while (!to.empty()) {
            // Runs of about a page, each starting at a random block.
            const std::size_t n_blocks = blocks_.size() / block_bytes_;
            const std::size_t from = random.next() % n_blocks * block_bytes_;
            const std::size_t run =
                std::min(std::max<std::size_t>(4096 / block_bytes_, 1) * block_bytes_, blocks_.size() - from);
            const std::size_t size = std::min(run, to.size());
            std::memcpy(to.data(), blocks_.data() + from, size);
            to = to.subspan(size);
        }
    }

    std::size_t block_bytes() const { return block_bytes_; }

private:
    std::size_t block_bytes_;
    std::vector<std::byte> blocks_;
};

void fill_vector(const TensorRef& tensor, std::byte* to, Random& random) {
    const bool norm = tensor.name.ends_with("norm.weight");
    for (std::uint64_t i = 0; i < tensor.bytes.value / sizeof(float); ++i) {
        const float value = norm ? 1.0f + 0.1f * random.uniform() : 0.5f * random.uniform();
        std::memcpy(to + i * sizeof value, &value, sizeof value);
    }
}

/// `data` has the tensor's size.
void fill_tensor(const TensorRef& tensor, std::span<std::byte> data, std::uint64_t seed) {
    if (tensor.n_dims == 1 || tensor.name.ends_with("conv.weight")) {
        Random random(seed);
        return fill_vector(tensor, data.data(), random);
    }
    // Small embeddings keep tied logits small; other rows divide by the root of their length.
    const bool embedding = tensor.name == "token_embd.weight";
    const float spread = embedding ? 0.05f : 1.0f / std::sqrt(static_cast<float>(tensor.dims[0]));
    const Pool pool(tensor.type, spread, seed);
    const std::size_t piece = kPiece / pool.block_bytes() * pool.block_bytes();
    tbb::parallel_for(std::size_t{0}, (data.size() + piece - 1) / piece, [&](std::size_t i) {
        const std::size_t begin = i * piece;
        pool.copy(data.subspan(begin, std::min(piece, data.size() - begin)), seed + i + 1);
    });
}

}  // namespace

std::uint64_t data_section_size(const ModelDescription& model) {
    std::uint64_t end = 0;
    for (const TensorRef* tensor : all_tensors(model)) end = std::max(end, tensor->offset + tensor->bytes.value);
    return end;
}

void fill_random(const ModelDescription& model, std::span<std::byte> data, std::uint64_t seed) {
    Random seeds(seed);
    for (const TensorRef* tensor : all_tensors(model))
        fill_tensor(*tensor, data.subspan(tensor->offset, tensor->bytes.value), seeds.next());
}

void random_tensors(const ModelDescription& model, std::uint64_t seed, const TensorSink& sink) {
    Random seeds(seed);
    std::vector<std::byte> data;
    for (const TensorRef* tensor : all_tensors(model)) {
        data.resize(tensor->bytes.value);
        fill_tensor(*tensor, data, seeds.next());
        sink(*tensor, data);
    }
}

std::vector<std::byte> random_matrix(DType type, std::uint32_t n_in, std::uint32_t n_out, std::uint64_t seed) {
    const std::size_t size = row_bytes(type, n_in) * n_out;
    ModelDescription model;
    model.token_embd = {.name = "matrix", .type = type, .n_dims = 2, .dims = {n_in, n_out, 1, 1}, .bytes = {size}};
    model.output_norm.n_dims = 1;  // of length 0
    std::vector<std::byte> data(size);
    fill_random(model, data, seed);
    return data;
}

}  // namespace lfm
