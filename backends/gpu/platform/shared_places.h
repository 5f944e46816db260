// Shared memory by its own 32-bit addresses, which saves arithmetic on 64-bit pointers; and loads of matrices of 8 rows
// of 16 bytes from there to the lanes that multiply them (platform/tiles.h): four at a time by the processor's
// instruction where there is one (PTX ISA, ldmatrix). Row r of each goes to lanes 4 r … 4 r + 3, a word to each.
#pragma once

#include <cstdint>
#include <cstring>

#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/loads.h"

namespace lfm::gpu {

/// A value that is kept in a register rather than computed anew where it is used.
__device__ inline std::uint32_t kept(std::uint32_t value) {
#if defined(LFM_GPU_CUDA)
    asm volatile("" : "+r"(value));
#endif
    return value;
}

/// Keeps the compiler from moving later loads to before this call. All lanes of a set call it together.
__device__ inline void load_no_earlier() {
#if defined(LFM_GPU_CUDA)
    __syncwarp();
#endif
}

/// An address in shared memory.
struct SharedPlace {
#if defined(LFM_GPU_CUDA)
    std::uint32_t at;
#else
    std::byte* at;
#endif
    __device__ SharedPlace operator+(std::uint32_t bytes) const { return {at + bytes}; }
};
__device__ inline SharedPlace place_in_shared(void* pointer) {
#if defined(LFM_GPU_CUDA)
    return {kept(static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer)))};
#else
    return {static_cast<std::byte*>(pointer)};
#endif
}

// T: 4, 8 or 16 bytes of words or floats, at a multiple of its size.
template <typename T>
__device__ inline T load_shared(SharedPlace from) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);
#if defined(LFM_GPU_CUDA)
    union {
        std::uint32_t words[sizeof(T) / 4];
        T value;
    } loaded;
    if constexpr (sizeof(T) == 4)
        asm volatile("ld.shared.b32 %0, [%1];" : "=r"(loaded.words[0]) : "r"(from.at) : "memory");
    else if constexpr (sizeof(T) == 8)
        asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];"
                     : "=r"(loaded.words[0]), "=r"(loaded.words[1])
                     : "r"(from.at)
                     : "memory");
    else
        asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(loaded.words[0]), "=r"(loaded.words[1]), "=r"(loaded.words[2]), "=r"(loaded.words[3])
                     : "r"(from.at)
                     : "memory");
    return loaded.value;
#else
    T value;
    std::memcpy(&value, from.at, sizeof value);
    return value;
#endif
}
template <typename T>
__device__ inline void store_shared(SharedPlace to, const T& value) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);
#if defined(LFM_GPU_CUDA)
    union {
        T value;
        std::uint32_t words[sizeof(T) / 4];
    } stored{value};
    if constexpr (sizeof(T) == 4)
        asm volatile("st.shared.b32 [%0], %1;" ::"r"(to.at), "r"(stored.words[0]) : "memory");
    else if constexpr (sizeof(T) == 8)
        asm volatile("st.shared.v2.b32 [%0], {%1,%2};" ::"r"(to.at), "r"(stored.words[0]), "r"(stored.words[1])
                     : "memory");
    else
        asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(to.at), "r"(stored.words[0]), "r"(stored.words[1]),
                     "r"(stored.words[2]), "r"(stored.words[3])
                     : "memory");
#else
    std::memcpy(to.at, &value, sizeof value);
#endif
}

/// Where the rows of four matrices lie: row r of matrix m at rows(8 * m + r) bytes behind a place that is a multiple of
/// 64. The eight rows of a matrix are read at once: without bank conflicts where their places differ modulo 128.
template <typename Rows>
struct MatrixPlaces {
    __device__ explicit MatrixPlaces(const Rows& rows_of) : rows(rows_of), mine(kept(rows_of(lane()))) {}
    Rows rows;
    std::uint32_t mine;
};

/// The same rows behind one place: with ldmatrix the address of this lane's row, else the places of all rows.
template <typename Rows>
struct MatrixRows {
#if defined(LFM_GPU_CUDA)
    __device__ MatrixRows(SharedPlace place, const MatrixPlaces<Rows>& of_lanes)
        : address((place + of_lanes.mine).at) {}
    /// Flips these bits of all places; below 64.
    __device__ void change(std::uint32_t bits) { address ^= bits; }

    std::uint32_t address;
#else
    __device__ MatrixRows(SharedPlace place, const MatrixPlaces<Rows>& of_lanes) : from(place), places(of_lanes) {}
    __device__ void change(std::uint32_t bits) { changed ^= bits; }

    SharedPlace from;
    const MatrixPlaces<Rows>& places;
    std::uint32_t changed = 0;
#endif
};

/// to[m] = this lane's word of matrix m, `bytes` bytes behind those rows.
template <typename Rows>
__device__ inline void load_matrices(std::uint32_t (&to)[4], const MatrixRows<Rows>& rows, std::uint32_t bytes) {
#if defined(LFM_GPU_CUDA)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(rows.address + bytes)
                 : "memory");
#else
    for (std::uint32_t m = 0; m < 4; ++m) {
        const std::uint32_t place = rows.places.rows(8 * m + lane() / 4) ^ rows.changed;
        to[m] = load_shared<std::uint32_t>(rows.from + (place + bytes + 4 * (lane() % 4)));
    }
#endif
}

}  // namespace lfm::gpu
