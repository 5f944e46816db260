// The runtime of the emulation: what platform/api.h takes from CUDA and HIP. A stream is an operating-system thread
// that carries out what it is given in order; device memory is memory of the process. Stricter than the originals where
// they leave something undefined; machine.h and faults.h say what tests can choose.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/needs/gpu_needs.h"

namespace lfm::gpu {

struct Kernel;
struct GroupCounts;
enum class Start : std::uint8_t;

namespace api {

inline constexpr const char* kBackend = LFM_EMULATED_WARP == 32 ? "emulated32" : "emulated64";
inline constexpr const char* kLanguage = "Emulation";

inline constexpr bool kNamesCapability = false;
inline constexpr std::uint64_t kContextBytes = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kUnitBytes = needs::gpu::kEmulatedUnit, kPinnedUnitBytes = kUnitBytes;

// Numbers as CUDA has them. Those that stay: every later call returns them too.
enum class Status : int {
    kSuccess = 0,
    kInvalidValue = 1,
    kOutOfMemory = 2,
    kInvalidConfiguration = 9,
    kInsufficientDriver = 35,
    kNoDevice = 100,
    kInvalidDevice = 101,
    kNotReady = 600,
    kIllegalAddress = 700,  // stays
    kHostMemoryAlreadyRegistered = 712,
    kHostMemoryNotRegistered = 713,
    kLaunchFailure = 719,  // stays
    kNotSupported = 801,
    kStreamCaptureUnsupported = 900,
};
inline constexpr Status kSuccess = Status::kSuccess;
inline constexpr Status kNotReady = Status::kNotReady;
inline constexpr Status kOutOfMemory = Status::kOutOfMemory;

using Stream = struct StreamState*;
using Graph = struct GraphState*;
using GraphExec = struct GraphExecState*;

const char* error_name(Status status);
void forget_error();

Status count_devices(int* n);
Status set_device(int index);
Status driver_version(int* version);
Status runtime_version(int* version);
Status synchronize_device();
Status memory_info(std::size_t* free, std::size_t* total);

Status allocate(void** to, std::size_t size);
Status release(void* memory);
Status allocate_pinned(void** to, std::size_t size);
Status device_address(void** to, void* pinned);
Status release_pinned(void* memory);
Status pin(void* memory, std::size_t size, bool read_only);
Status unpin(void* memory);

Status create_stream(Stream* stream);
/// Waits until it has done what it was given.
Status destroy_stream(Stream stream);
Status query_stream(Stream stream);
Status synchronize_stream(Stream stream);
/// Each side lies within one allocation, or is memory of the host, which must stay until the copy is done.
Status copy(void* to, const void* from, std::size_t size, Stream stream);

Status load(const Kernel& kernel);
/// Always 4, as on the cards that kernels are made for.
Status groups_at_once(int* n, const Kernel& kernel);
/// A kernel that starts early runs up to await_earlier() in all its groups first, while device memory cannot be
/// touched.
Status launch(const Kernel& kernel, const GroupCounts& groups, const void* push, Stream stream, Start start = {});
inline Status starts_early(bool* does, const Kernel&) {
    *does = true;
    return Status::kSuccess;
}
Status begin_capture(Stream stream);
Status end_capture(Stream stream, Graph* graph);
Status destroy_graph(Graph graph);
Status instantiate(GraphExec* to, Graph graph);
Status launch(GraphExec graph, Stream stream);
/// Waits until no stream has the graph left to run.
Status destroy(GraphExec graph);

struct Properties {
    char name[256];
    std::size_t memory;
    int n_processors;
    int shared_bytes;
    int major, minor;
    int integrated;
    double ticks_per_second;
    int pins_read_only;
};
Status properties(Properties* to, int index);
inline bool multiplies_tiles(const Properties&) { return LFM_EMULATED_WARP == 32; }

}  // namespace api
}  // namespace lfm::gpu
