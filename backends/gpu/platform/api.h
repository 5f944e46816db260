// The vendor's runtime under one set of names: CUDA's, HIP's, or the emulation's on the CPU. Calls return a Status and
// do what their originals do; the originals' manuals describe them.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(LFM_GPU_CUDA)
#include <cuda_runtime_api.h>
#define LFM_GPU(name) cuda##name
#elif defined(LFM_GPU_HIP)
#include <hip/hip_runtime_api.h>
#define LFM_GPU(name) hip##name
#else
#include "backends/gpu/emulation/api.h"
#endif
#include "backends/needs/gpu_needs.h"

namespace lfm::gpu {

/// A kernel as launches name it. Made where it is compiled (platform/launch.h).
struct Kernel {
    const char* name = "";
    const void* function = nullptr;
    /// On the CPU: calls the function with the struct that `push` points to.
    void (*call)(const void* function, const void* push) = nullptr;
    std::uint32_t n_threads = 0;     // of a group
    std::uint32_t shared_bytes = 0;  // of a group
    std::uint32_t push_bytes = 0;
};

/// When a kernel may start: after the one before it on its stream, or while that one still runs, once it calls
/// let_next_start() (platform/kernel.h). For kernels that call await_earlier().
enum class Start : std::uint8_t { kInTurn, kEarly };

struct GroupCounts {
    std::uint32_t x = 1, y = 1, z = 1;
    bool operator==(const GroupCounts&) const = default;
};

#if defined(LFM_GPU_CUDA) || defined(LFM_GPU_HIP)

namespace api {

#if defined(LFM_GPU_CUDA)
inline constexpr const char* kBackend = "cuda";
inline constexpr const char* kLanguage = "CUDA";
#else
inline constexpr const char* kBackend = "hip";
inline constexpr const char* kLanguage = "HIP";
#endif

/// Whether Properties::major and minor are CUDA's compute capability.
#if defined(LFM_GPU_CUDA)
inline constexpr bool kNamesCapability = true;
#else
inline constexpr bool kNamesCapability = false;
#endif
/// What opening a device takes of its memory beside what is allocated: context, kernels, stacks. Assumed, not measured.
inline constexpr std::uint64_t kContextBytes = std::uint64_t{384} << 20;

/// The units in which drivers hand out device memory and pinned memory, bytes.
inline constexpr std::uint64_t kUnitBytes = needs::gpu::kUnit, kPinnedUnitBytes = needs::gpu::kPinnedUnit;

using Status = LFM_GPU(Error_t);
using Stream = LFM_GPU(Stream_t);
using Graph = LFM_GPU(Graph_t);
using GraphExec = LFM_GPU(GraphExec_t);
inline constexpr Status kSuccess = LFM_GPU(Success);
inline constexpr Status kNotReady = LFM_GPU(ErrorNotReady);
#if defined(LFM_GPU_CUDA)
inline constexpr Status kOutOfMemory = cudaErrorMemoryAllocation;
#else
inline constexpr Status kOutOfMemory = hipErrorOutOfMemory;
#endif

inline const char* error_name(Status status) { return LFM_GPU(GetErrorName)(status); }
/// After a refusal that the caller has dealt with: clears it, unless the error is one that stays.
inline void forget_error() { static_cast<void>(LFM_GPU(GetLastError)()); }

inline Status count_devices(int* n) { return LFM_GPU(GetDeviceCount)(n); }
inline Status set_device(int index) { return LFM_GPU(SetDevice)(index); }
inline Status driver_version(int* version) { return LFM_GPU(DriverGetVersion)(version); }
inline Status runtime_version(int* version) { return LFM_GPU(RuntimeGetVersion)(version); }
inline Status synchronize_device() { return LFM_GPU(DeviceSynchronize)(); }
/// Of the current device; creates its context.
inline Status memory_info(std::size_t* free, std::size_t* total) { return LFM_GPU(MemGetInfo)(free, total); }

inline Status allocate(void** to, std::size_t size) { return LFM_GPU(Malloc)(to, size); }
inline Status release(void* memory) { return LFM_GPU(Free)(memory); }
/// Pinned, and addressed by the device too.
inline Status allocate_pinned(void** to, std::size_t size) {
#if defined(LFM_GPU_CUDA)
    return cudaHostAlloc(to, size, cudaHostAllocMapped | cudaHostAllocPortable);
#else
    return hipHostMalloc(to, size, hipHostMallocMapped | hipHostMallocPortable);
#endif
}
inline Status device_address(void** to, void* pinned) { return LFM_GPU(HostGetDevicePointer)(to, pinned, 0); }
#if defined(LFM_GPU_CUDA)
inline Status release_pinned(void* memory) { return cudaFreeHost(memory); }
#else
inline Status release_pinned(void* memory) { return hipHostFree(memory); }
#endif
/// Pins memory of the process for copies from it. `read_only`: the memory may be mapped read-only; only where
/// Properties::pins_read_only.
inline Status pin(void* memory, std::size_t size, [[maybe_unused]] bool read_only) {
#if defined(LFM_GPU_CUDA)
    if (read_only) return cudaHostRegister(memory, size, cudaHostRegisterPortable | cudaHostRegisterReadOnly);
#endif
    return LFM_GPU(HostRegister)(memory, size, LFM_GPU(HostRegisterPortable));
}
inline Status unpin(void* memory) { return LFM_GPU(HostUnregister)(memory); }

inline Status create_stream(Stream* stream) {
    return LFM_GPU(StreamCreateWithFlags)(stream, LFM_GPU(StreamNonBlocking));
}
inline Status destroy_stream(Stream stream) { return LFM_GPU(StreamDestroy)(stream); }
/// kSuccess: nothing is left to do; kNotReady: something is.
inline Status query_stream(Stream stream) { return LFM_GPU(StreamQuery)(stream); }
inline Status synchronize_stream(Stream stream) { return LFM_GPU(StreamSynchronize)(stream); }
inline Status copy(void* to, const void* from, std::size_t size, Stream stream) {
    return LFM_GPU(MemcpyAsync)(to, from, size, LFM_GPU(MemcpyDefault), stream);
}

/// Loads the kernel's code now, not at its first launch: loading may wait until the device is idle, and the device may
/// be waiting for the host.
inline Status load(const Kernel& kernel) {
#if defined(LFM_GPU_CUDA)
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, kernel.function);
#else
    hipFuncAttributes attributes;
    return hipFuncGetAttributes(&attributes, kernel.function);
#endif
}
/// How many of the kernel's groups a processor of the current device runs at a time: what its registers, its shared
/// memory and the device allow.
inline Status groups_at_once(int* n, const Kernel& kernel) {
    return LFM_GPU(OccupancyMaxActiveBlocksPerMultiprocessor)(n, kernel.function, static_cast<int>(kernel.n_threads),
                                                              kernel.shared_bytes);
}
inline Status launch(const Kernel& kernel, const GroupCounts& groups, const void* push, Stream stream,
                     [[maybe_unused]] Start start = Start::kInTurn) {
    void* arguments[] = {const_cast<void*>(push)};
#if defined(LFM_GPU_CUDA)
    if (start == Start::kEarly) {
        cudaLaunchAttribute attribute{};
        attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attribute.val.programmaticStreamSerializationAllowed = 1;
        cudaLaunchConfig_t config{};
        config.gridDim = dim3(groups.x, groups.y, groups.z);
        config.blockDim = dim3(kernel.n_threads);
        config.dynamicSmemBytes = kernel.shared_bytes;
        config.stream = stream;
        config.attrs = &attribute;
        config.numAttrs = 1;
        return cudaLaunchKernelExC(&config, kernel.function, arguments);
    }
#endif
    return LFM_GPU(LaunchKernel)(kernel.function, dim3(groups.x, groups.y, groups.z), dim3(kernel.n_threads), arguments,
                                 kernel.shared_bytes, stream);
}
/// Whether the kernel's code for the current device can start early: whether it comes from PTX for compute capability
/// 9.0 or later. Older PTX cannot, whatever processor it is compiled for in the end.
inline Status starts_early(bool* does, [[maybe_unused]] const Kernel& kernel) {
    *does = false;
#if defined(LFM_GPU_CUDA)
    cudaFuncAttributes attributes;
    const Status status = cudaFuncGetAttributes(&attributes, kernel.function);
    *does = status == kSuccess && attributes.ptxVersion >= 90;
    return status;
#else
    return kSuccess;
#endif
}

inline Status begin_capture(Stream stream) {
    return LFM_GPU(StreamBeginCapture)(stream, LFM_GPU(StreamCaptureModeThreadLocal));
}
inline Status end_capture(Stream stream, Graph* graph) { return LFM_GPU(StreamEndCapture)(stream, graph); }
inline Status destroy_graph(Graph graph) { return LFM_GPU(GraphDestroy)(graph); }
#if defined(LFM_GPU_CUDA)
inline Status instantiate(GraphExec* to, Graph graph) { return cudaGraphInstantiateWithFlags(to, graph, 0); }
#else
inline Status instantiate(GraphExec* to, Graph graph) { return hipGraphInstantiate(to, graph, nullptr, nullptr, 0); }
#endif
inline Status launch(GraphExec graph, Stream stream) { return LFM_GPU(GraphLaunch)(graph, stream); }
inline Status destroy(GraphExec graph) { return LFM_GPU(GraphExecDestroy)(graph); }

/// What the backend wants to know of a device.
struct Properties {
    char name[256];
    std::size_t memory;
    int n_processors;
    int shared_bytes;         // of a group
    int major, minor;         // of CUDA's compute capability
    int integrated;           // shares the host's memory
    double ticks_per_second;  // of device_ticks() (platform/kernel.h), at most
    int pins_read_only;       // memory that is mapped to be read only can be pinned
};
inline Status properties(Properties* to, int index) {
#if defined(LFM_GPU_CUDA)
    cudaDeviceProp found;
#else
    hipDeviceProp_t found;
#endif
    const Status status = LFM_GPU(GetDeviceProperties)(&found, index);
    if (status != kSuccess) return status;
    for (std::size_t i = 0; i < sizeof to->name; ++i) to->name[i] = found.name[i];
    to->memory = found.totalGlobalMem;
    to->n_processors = found.multiProcessorCount;
    to->shared_bytes = static_cast<int>(found.sharedMemPerBlock);
    to->major = found.major;
    to->minor = found.minor;
    to->integrated = found.integrated;
#if defined(LFM_GPU_CUDA)
    to->ticks_per_second = 1e9;
    if (cudaDeviceGetAttribute(&to->pins_read_only, cudaDevAttrHostRegisterReadOnlySupported, index) != kSuccess) {
        forget_error();
        to->pins_read_only = 0;
    }
#else
    to->ticks_per_second = 1e3 * found.clockRate;  // kHz, of the highest clock
    to->pins_read_only = 0;
#endif
    return status;
}

/// Whether kernels may use platform/tiles.h and platform/half_tiles.h.
inline bool multiplies_tiles([[maybe_unused]] const Properties& properties) {
    return kNamesCapability && properties.major >= 8;
}

}  // namespace api

#undef LFM_GPU
#endif

/// For calls whose refusal changes nothing: a lost device refuses everything, and closing it frees all.
inline void ignore(api::Status) noexcept {}

}  // namespace lfm::gpu
