// How fast bytes get to a Vulkan device, by one thread and by several, in turns within one run: from memory, from a
// file in the system's cache, and from one that it has dropped. On a driver that computes on the CPU also as if it were
// a card, whose memory the host cannot reach.  Usage: upload_bench [MiB [THREADS [FILE]]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backends/vulkan/vulkan_device.h"
#include "runtime/tensors/upload.h"
#include "tests/backends/vulkan/replaced_call.h"

namespace lfm::bench {
namespace {

constexpr std::size_t kMatrix = (std::size_t{3} << 20) + 640;  // bytes, about an expert's matrix
constexpr int kRepetitions = 5;

PFN_vkGetPhysicalDeviceProperties real_properties = nullptr;
void as_a_card(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
    real_properties(device, properties);
    properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

enum class From { kMemory, kCachedFile, kColdFile };

/// A file of that size, mapped as models are.
class Source {
public:
    Source(const std::string& path, std::size_t size) : size_(size) {
        file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
        std::vector<char> piece(std::size_t{1} << 20);
        for (std::size_t at = 0; at < size; at += piece.size()) {
            for (std::size_t i = 0; i < piece.size(); i += 8) std::memcpy(&piece[i], &i, sizeof i);
            if (::write(file_, piece.data(), std::min(piece.size(), size - at)) < 0) std::exit(1);
        }
        ::fsync(file_);
        ::unlink(path.c_str());
        map();
    }
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    ~Source() {
        ::munmap(data_, size_);
        ::close(file_);
    }
    /// A new mapping, of a file that the system has in its cache, or no longer.
    void map_anew(From from) {
        ::munmap(data_, size_);
        if (from == From::kColdFile) ::posix_fadvise(file_, 0, 0, POSIX_FADV_DONTNEED);
        map();
    }
    void read() const {
        for (std::size_t at = 0; at < size_; at += 4096) sum_ = sum_ + data_[at];
    }
    const std::byte* data() const { return reinterpret_cast<const std::byte*>(data_); }

private:
    void map() { data_ = static_cast<unsigned char*>(::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file_, 0)); }
    std::size_t size_;
    int file_ = -1;
    unsigned char* data_ = nullptr;
    mutable volatile unsigned sum_ = 0;
};

struct Speed {
    std::vector<double> one, several;
};

void measure(const char* name, Source& source, std::size_t size, std::uint32_t n_threads, From from) {
    Ledger ledger;
    const auto device = vulkan::make_vulkan_device({.budget = {size + (std::size_t{64} << 20)}}, ledger);
    // Uploaded once before: on a CPU driver the first touch of fresh pages would be all that is measured.
    std::vector<DeviceBlock> blocks;
    std::vector<CopyRegion> regions;
    for (std::size_t at = 0; at < size; at += kMatrix) {
        const std::size_t n = std::min(kMatrix, size - at);
        blocks.push_back(device->allocate(MemoryKind::kOwn, Purpose::kWeights, n));
        regions.push_back({blocks.back().address(), source.data() + at, n});
    }
    upload(*device, regions, 1, {});
    Speed speed;
    for (int i = 0; i < 2 * kRepetitions; ++i) {
        if (from == From::kMemory)
            source.read();
        else
            source.map_anew(from);
        for (std::size_t r = 0; r < regions.size(); ++r) regions[r].from = source.data() + r * kMatrix;
        const Uploaded done = upload(*device, regions, i % 2 == 0 ? 1 : n_threads, {});
        (i % 2 == 0 ? speed.one : speed.several).push_back(done.gb_per_s());
    }
    const double one = median(speed.one), several = median(speed.several);
    std::printf("%-28s %6.2f GB/s by one thread, %6.2f by %u: x %.2f\n", name, one, several, n_threads, several / one);
}

/// Copies beside work, by way of staging and from registered memory.
void measure_copies(Source& source, std::size_t size) {
    Ledger ledger;
    const auto device = vulkan::make_vulkan_device({.budget = {size + (std::size_t{64} << 20)}}, ledger);
    if (!device->limits().registers_memory) return void(std::puts("the driver imports no memory of the host's"));
    const std::size_t n = size / kMatrix;
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, n * kMatrix);
    std::vector<CopyRegion> regions;
    for (std::size_t i = 0; i < n; ++i)
        regions.push_back({block.address() + i * kMatrix, source.data() + i * kMatrix, kMatrix});
    source.read();
    device->wait(device->copy(regions, {}));
    std::vector<double> staged, registered;
    for (int i = 0; i < 2 * kRepetitions; ++i) {
        HostRegistration registration;
        if (i % 2 == 1) registration = device->register_memory({source.data(), size});
        const auto begin = std::chrono::steady_clock::now();
        device->wait(device->copy(regions, {}));
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        (i % 2 == 0 ? staged : registered).push_back(static_cast<double>(n * kMatrix) / 1e9 / seconds.count());
        if (i == 1) std::printf("registered %zu of %zu bytes\n", std::size_t{registration.bytes().value}, size);
    }
    std::printf("card, copies                 %6.2f GB/s staged, %6.2f from registered memory: x %.2f\n",
                median(staged), median(registered), median(registered) / median(staged));
}

}  // namespace
}  // namespace lfm::bench

int main(int argc, char** argv) {
    using namespace lfm;
    using namespace lfm::bench;
    const auto infos = vulkan::list_devices();
    if (infos.empty()) return std::puts("no Vulkan device"), 0;
    const std::size_t size = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 512) << 20;
    const auto n_threads = static_cast<std::uint32_t>(argc > 2 ? std::atoi(argv[2]) : 2);
    Source source(argc > 3 ? argv[3] : "upload_bench.tmp", size);
    std::printf("%s, %zu MiB in matrices of %zu bytes, medians of %d\n", infos[0].name.c_str(), size >> 20, kMatrix,
                kRepetitions);
    measure("from memory", source, size, n_threads, From::kMemory);
    measure("from a cached file", source, size, n_threads, From::kCachedFile);
    measure("from a cold file", source, size, n_threads, From::kColdFile);
    real_properties = vkGetPhysicalDeviceProperties;
    const test::ReplacedCall<PFN_vkGetPhysicalDeviceProperties> card(vkGetPhysicalDeviceProperties, as_a_card);
    measure_copies(source, size);
    measure("card, from memory", source, size, n_threads, From::kMemory);
    measure("card, from a cached file", source, size, n_threads, From::kCachedFile);
    measure("card, from a cold file", source, size, n_threads, From::kColdFile);
}
