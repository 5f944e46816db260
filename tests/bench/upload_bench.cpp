// How fast bytes get to a Vulkan device, by one thread and by several, in turns within one run: from memory, and from a
// file that the system has dropped from its cache. On a driver that computes on the CPU also as if it were a card,
// whose memory the host cannot reach.  Usage: upload_bench [MiB [THREADS [FILE]]]
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
#include "runtime/upload.h"
#include "tests/backends/vulkan/replaced_call.h"

namespace lfm::bench {
namespace {

constexpr std::size_t kMatrix = (std::size_t{3} << 20) + 640;  // as an expert's
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
    void forget() {
        ::munmap(data_, size_);
        ::posix_fadvise(file_, 0, 0, POSIX_FADV_DONTNEED);
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

void measure(const char* name, Source& source, std::size_t size, std::uint32_t n_threads, bool cold) {
    Ledger ledger;
    const auto device = vulkan::make_vulkan_device({.budget = {size + (std::size_t{64} << 20)}}, ledger);
    // Written once before: fresh pages of the host's memory would be all that is measured. A card has none.
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
        if (cold)
            source.forget();
        else
            source.read();
        for (std::size_t r = 0; r < regions.size(); ++r) regions[r].from = source.data() + r * kMatrix;
        const Uploaded done = upload(*device, regions, i % 2 == 0 ? 1 : n_threads, {});
        (i % 2 == 0 ? speed.one : speed.several).push_back(done.gb_per_s());
    }
    const double one = median(speed.one), several = median(speed.several);
    std::printf("%-28s %6.2f GB/s by one thread, %6.2f by %u: x %.2f\n", name, one, several, n_threads, several / one);
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
    measure("from memory", source, size, n_threads, false);
    measure("from a cold file", source, size, n_threads, true);
    real_properties = vkGetPhysicalDeviceProperties;
    const test::ReplacedCall<PFN_vkGetPhysicalDeviceProperties> card(vkGetPhysicalDeviceProperties, as_a_card);
    measure("card, from memory", source, size, n_threads, false);
    measure("card, from a cold file", source, size, n_threads, true);
}
