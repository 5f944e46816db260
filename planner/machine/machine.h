// What a machine can do: the profile that predictions rest on. Every figure carries how it was got.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "memory/dtype.h"
#include "memory/units.h"

namespace lfm {

/// `n` runs; `spread` = (third quartile − first) / median.
struct Measured {
    std::uint32_t n = 0;
    double spread = 0;
    bool operator==(const Measured&) const = default;
};

/// The maker's figure, and the share of it that programs reach.
struct Datasheet {
    std::string source;
    double derating = 1;
    bool operator==(const Datasheet&) const = default;
};

/// Neither measured nor published.
struct Assumed {
    std::string reason;
    bool operator==(const Assumed&) const = default;
};

/// A positive number. The unit is in the name of the member (and of the JSON key) that holds it.
struct Figure {
    double stated = 0;  // measured: the median
    std::variant<Measured, Datasheet, Assumed> basis;

    double value() const;
    /// How far the truth may be from value(), as a share of it: measured, the spread but at least 5 %; datasheet 20 %;
    /// assumed 40 %.
    double uncertainty() const;
    bool operator==(const Figure&) const = default;
};

/// A figure per weight type; `others` stands for the types without their own.
struct TypeFigures {
    std::map<DType, Figure> types;
    std::optional<Figure> others;

    /// Null when there is neither.
    const Figure* find(DType type) const;
    bool operator==(const TypeFigures&) const = default;
};

struct ThreadFigure {
    std::uint32_t n_threads = 0;
    Figure gb_per_s;
    bool operator==(const ThreadFigure&) const = default;
};

/// Gigabytes are 10^9 bytes, as in bandwidths; sizes are bytes.
struct HostProfile {
    std::string name;                          // of the processor
    std::string instruction_set;               // kernels chosen: "avx2", "avx512", "neon", "portable"; empty: not known
    std::uint32_t n_cores = 0;                 // physical
    std::uint32_t n_threads = 0;               // threads that lfm-run uses by default
    Bytes memory;                              // installed
    std::optional<Bytes> pinnable;             // that the driver accepted; nothing: not tried
    std::vector<ThreadFigure> read_bandwidth;  // by rising n_threads; at least one
    TypeFigures matvec_gb_per_s;               // weights read, one token, n_threads
    TypeFigures gemm_gflop_per_s;              // a batch of 512 tokens; two per multiply-add
    Figure attention_gb_per_s;                 // key/value cache read, one token
    Figure operation_us;                       // of an operation beside its bytes and sums
    bool operator==(const HostProfile&) const = default;
};

enum class DeviceMemory : std::uint8_t { kOwn, kSharedWithHost };

struct DeviceProfile {
    std::string name;
    std::string backend;  // "cuda", "hip", "vulkan", "sim"
    DeviceMemory memory_kind = DeviceMemory::kOwn;
    Bytes memory;               // of the device; shared: what it may take of the host's
    std::optional<Bytes> free;  // when measured; nothing: a datasheet does not know
    Bytes context;              // the driver takes for itself
    TypeFigures matvec_gb_per_s;
    TypeFigures gemm_gflop_per_s;
    Figure read_gb_per_s;
    Figure attention_gb_per_s;
    Figure operation_us;  // launch of a recorded operation
    Figure handshake_us;  // host waits for device and starts it again, within a recorded step
    Figure copy_us;       // latency of a copy
    Figure h2d_pinned_gb_per_s, h2d_pageable_gb_per_s;
    std::optional<Figure> h2d_registered_gb_per_s;  // of pages registered with the driver; nothing: it takes none
    Figure d2h_pinned_gb_per_s, d2h_pageable_gb_per_s;
    Figure h2d_while_host_reads_gb_per_s;  // both sides at work: what the bus still carries,
    Figure host_reads_while_h2d_gb_per_s;  // and what the processor still reads
    bool operator==(const DeviceProfile&) const = default;
};

/// Whether pages that the driver knows travel at least as fast as through the host's own staging.
bool registering_pays(const DeviceProfile& device);

struct MachineProfile {
    std::string name;
    std::string measured_at;  // ISO date and time; empty: a datasheet profile
    HostProfile host;
    std::vector<DeviceProfile> devices;  // DeviceId 1, 2, …; the host is 0
    bool operator==(const MachineProfile&) const = default;
};

/// What tells machines apart, by part: processor, cores, threads, installed memory, each device's name, backend and
/// memory.
struct MachineIdentity {
    std::map<std::string, std::string> parts;
    bool operator==(const MachineIdentity&) const = default;
};
MachineIdentity identity_of(const MachineProfile& machine);

}  // namespace lfm
