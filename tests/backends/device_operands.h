// Operands of operations in device memory, each in a block of exactly its size, so that the validation layer sees every
// address beyond it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <initializer_list>
#include <span>
#include <vector>

#include "backends/device.h"
#include "tests/backends/operation_cases/operands.h"
#include "tests/backends/operation_cases/reference.h"

namespace lfm::test {

class DeviceOperands {
public:
    explicit DeviceOperands(Device& device) : device_(device) {}

    /// The bytes lie `offset` into a block.
    template <typename T>
    T* put(const std::vector<T>& values, std::size_t offset = 0) {
        const std::size_t size = values.size() * sizeof(T);
        blocks_.push_back(device_.allocate(MemoryKind::kOwn, Purpose::kActivations, offset + size));
        std::byte* to = blocks_.back().address() + offset;
        set(reinterpret_cast<T*>(to), values);
        return reinterpret_cast<T*>(to);
    }
    template <typename T>
    void set(T* to, const std::vector<T>& values) {
        const CopyRegion region{reinterpret_cast<std::byte*>(to), reinterpret_cast<const std::byte*>(values.data()),
                                values.size() * sizeof(T)};
        device_.upload({&region, 1});
    }
    /// Filled with NaN.
    float* room(std::size_t n) { return put(std::vector<float>(n, NAN)); }
    std::vector<float> get(const float* from, std::size_t n) {
        std::vector<float> values(n);
        device_.download(std::as_writable_bytes(std::span(values)), reinterpret_cast<const std::byte*>(from));
        return values;
    }
    template <typename T>
    std::vector<T> get(const T* from, std::size_t n) {
        std::vector<T> values(n);
        device_.download(std::as_writable_bytes(std::span(values)), reinterpret_cast<const std::byte*>(from));
        return values;
    }

    Program record(std::initializer_list<Operation> operations) {
        return device_.record(std::span(operations.begin(), operations.size()), step);
    }
    void run(ProgramId program) {
        device_.begin_step();
        static_cast<Backend&>(device_).submit(program);
        static_cast<Backend&>(device_).wait();
    }

    /// Frees the operands. Programs recorded before may be recorded again, but must not run.
    void clear() { blocks_.clear(); }

    /// Recorded programs refer to it: it must outlive their last run.
    StepParams step{.n_tokens = 1, .n_outputs = 1};

private:
    Device& device_;
    std::deque<DeviceBlock> blocks_;
};

/// Σ(a−b)² / Σb²; NaN when a value is NaN or `found` is too short.
inline double nmse(std::span<const float> found, std::span<const double> expected) {
    if (found.size() < expected.size()) return NAN;
    Nmse result;
    for (std::size_t i = 0; i < expected.size(); ++i) result.add(found[i], expected[i]);
    return result.value();
}

}  // namespace lfm::test
