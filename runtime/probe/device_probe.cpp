#include "runtime/probe/device_probe.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "memory/error.h"
#include "memory/host_buffer.h"
#include "runtime/probe/probe_trials.h"

namespace lfm {
namespace {

constexpr std::uint64_t kMostBudget = std::uint64_t{4} << 30;

constexpr std::uint32_t kWidth = 2048;       // of the F32 matrices that memory is read as
constexpr std::uint32_t kMatrixRows = 4096;  // 32 MiB
constexpr std::size_t kRowBytes = kWidth * sizeof(float);
constexpr double kLongEnough = 0.02;  // seconds: handing over one step hardly counts
constexpr std::uint32_t kMostPasses = 16;
constexpr std::size_t kCopyRowBytes = std::size_t{128} << 10;  // 512 rows are the largest copy
constexpr std::uint32_t kMostHandshakes = 1024;

void expect_between(const char* what, std::size_t found, std::size_t least, std::size_t most) {
    if (found >= least && found <= most) return;
    throw Error(
        ErrorCode::kUsage, what,
        "expected " + std::to_string(least) + " to " + std::to_string(most) + ", found " + std::to_string(found));
}

}  // namespace

Bytes probe_budget(const DeviceProfile& description) {
    return {std::min(description.free.value_or(description.memory).value / 4 * 3, kMostBudget)};
}

/// The device with everything that its measurements need.
class DeviceProbe::Opened {
public:
    Opened(const Open& open, Bytes budget)
        : device_(open({.budget = budget, .limits = kProbeLimits}, ledger_)),
          target_(device_->allocate(MemoryKind::kOwn, Purpose::kStaging, kLargestProbeCopy)),
          pinned_(device_->allocate(MemoryKind::kShared, Purpose::kStaging, kLargestProbeCopy)),
          rows_(device_->allocate(MemoryKind::kOwn, Purpose::kActivations, (kWidth + kMatrixRows) * sizeof(float))),
          pageable_(ledger_, Purpose::kStaging, kLargestProbeCopy) {
        if (device_->limits().registers_memory) {
            registered_ = HostBuffer(ledger_, Purpose::kStaging, kLargestProbeCopy);
            std::ranges::fill(registered_.bytes(), std::byte{1});
            registration_ = device_->register_memory(registered_.bytes());
        }
        for (const auto& bytes : {pinned_.host(), pageable_.bytes()}) std::ranges::fill(bytes, std::byte{1});
        const std::vector<float> ones(kWidth + kMatrixRows, 1.0f);
        upload(rows_.address(), std::as_bytes(std::span(ones)));
    }

    Device& device() { return *device_; }

    std::byte* take(std::size_t size) {
        taken_.push_back(device_->allocate(MemoryKind::kOwn, Purpose::kWeights, size));
        return taken_.back().address();
    }

    void upload(std::byte* to, std::span<const std::byte> from) {
        const CopyRegion region{to, from.data(), from.size()};
        device_->upload({&region, 1});
    }

    double read_seconds(std::span<const std::byte> memory) {
        expect_between("memory to read", memory.size(), kRowBytes, SIZE_MAX);
        const auto [known, is_new] = reads_.try_emplace({memory.data(), memory.size()});
        Read& read = known->second;
        if (is_new) {
            record_read(read, memory, 1);
            run(read.program);  // the first run is slower
            const double times = kLongEnough / run(read.program);
            const std::size_t n_different = memory.size() / (kRowBytes * kMatrixRows) + 1;
            const double most = 1.0 * kMostPasses * static_cast<double>(n_different);
            const auto n_matrices = static_cast<std::uint32_t>(std::clamp(times, 1.0, most));
            if (n_matrices > 1) record_read(read, memory, n_matrices);
        }
        return run(read.program) * static_cast<double>(memory.size()) / static_cast<double>(read.bytes);
    }

    bool registers_memory() const { return registration_.bytes() == Bytes{kLargestProbeCopy}; }

    double upload_seconds(std::size_t size, HostPages pages) {
        const CopyRegion region{target_.address(), from(pages).data(), size};
        return seconds_of([&] { device_->wait(device_->copy({&region, 1}, {})); });
    }

    double download_seconds(std::size_t size, HostPages pages) {
        if (pages != HostPages::kPinned)
            return seconds_of([&] { device_->download(pageable_.bytes().first(size), target_.address()); });
        const auto [known, is_new] = downloads_.try_emplace(size);
        if (is_new) record_download(known->second, size);
        return run(known->second.program);
    }

    double handshake_seconds(std::uint32_t count) {
        const RowsView row{reinterpret_cast<float*>(rows_.address()), kWidth};
        const RowsView out{row.data + kWidth, kWidth};
        const Operation tiny = AddArgs{.a = row, .b = row, .out = out};
        while (handshakes_.size() <= count) handshakes_.push_back(device_->record({&tiny, 1}, one_token_));
        device_->begin_step();
        if (device_->limits().waits == WaitKind::kByCaller) return meeting_by_caller_seconds(count);
        std::vector<Point> reached;
        for (std::uint32_t i = 0; i <= count; ++i) {
            const Point host{Timeline::kHostSignals, device_->last(Timeline::kHostSignals).value + 1 + i};
            reached.push_back(device_->submit(handshakes_[i], {&host, 1}));
        }
        device_->flush();
        const auto meet = [&](const Point& point) {
            device_->signal();
            device_->wait(point);
        };
        meet(reached.front());  // the driver is done handing over
        return seconds_of([&] {
            for (const Point& point : std::span(reached).subspan(1)) meet(point);
        });
    }

private:
    /// For devices that cannot wait for the host by themselves: the host waits, then hands the next program over.
    double meeting_by_caller_seconds(std::uint32_t count) {
        const auto meet = [&](ProgramId program) {
            const Point end = device_->submit(program, {});
            device_->flush();
            device_->wait(end);
        };
        meet(handshakes_.front());
        return seconds_of([&] {
            for (std::uint32_t i = 1; i <= count; ++i) meet(handshakes_[i]);
        });
    }

    struct Read {
        Program program;
        std::size_t bytes = 0;  // that the program reads
    };
    struct Download {
        StepParams step;
        Program program;
    };

    /// One matrix after the other, and from the first again after the last.
    void record_read(Read& read, std::span<const std::byte> memory, std::uint32_t n_matrices) {
        const RowsView x{reinterpret_cast<float*>(rows_.address()), kWidth};
        const std::size_t n_rows = memory.size() / kRowBytes;
        std::vector<Operation> operations;
        read.bytes = 0;
        for (std::size_t first = 0; operations.size() < n_matrices;
             first = first + kMatrixRows < n_rows ? first + kMatrixRows : 0) {
            const auto n_out = static_cast<std::uint32_t>(std::min<std::size_t>(kMatrixRows, n_rows - first));
            const WeightView weight{memory.data() + first * kRowBytes, DType::kF32, n_out, kWidth, kRowBytes};
            operations.push_back(
                MatmulArgs{.x = x, .outputs = {MatmulOutput{weight, {x.data + kWidth, n_out}}}, .n_outputs = 1});
            read.bytes += n_out * kRowBytes;
        }
        read.program = device_->record(operations, one_token_);
    }

    /// As rows of equal length, not more than a step may have.
    void record_download(Download& download, std::size_t size) {
        const std::size_t n_rows = std::max<std::size_t>(size / kCopyRowBytes, 1);
        const auto n_cols = static_cast<std::uint32_t>(std::max<std::size_t>(size / n_rows / sizeof(float), 1));
        download.step = {.n_tokens = static_cast<std::uint32_t>(n_rows)};
        const Operation copy = CopyArgs{.parts = {RowsCopy{{reinterpret_cast<float*>(target_.address()), n_cols},
                                                           {reinterpret_cast<float*>(pinned_.address()), n_cols}}},
                                        .n_parts = 1};
        download.program = device_->record({&copy, 1}, download.step);
    }

    std::span<const std::byte> from(HostPages pages) {
        if (pages == HostPages::kPinned) return pinned_.host();
        if (pages == HostPages::kPageable) return pageable_.bytes();
        if (!registers_memory())
            throw Error(ErrorCode::kUsage, "copy", "expected memory that the driver takes, found none");
        return registered_.bytes();
    }

    double run(ProgramId program) {
        device_->begin_step();
        return seconds_of([&] {
            const Point done = device_->submit(program, {});
            device_->flush();
            device_->wait(done);
        });
    }

    Ledger ledger_;
    std::unique_ptr<Device> device_;
    DeviceBlock target_, pinned_, rows_;
    HostBuffer pageable_, registered_;
    HostRegistration registration_;
    std::vector<DeviceBlock> taken_;
    const StepParams one_token_{.n_tokens = 1};
    std::map<std::pair<const std::byte*, std::size_t>, Read> reads_;
    std::map<std::size_t, Download> downloads_;  // by size
    std::vector<Program> handshakes_;
};

DeviceProbe::DeviceProbe(DeviceProfile description, Open open)
    : description_(std::move(description)), open_(std::move(open)) {}

DeviceProbe::DeviceProbe(const FoundDevice& found)
    : DeviceProbe(found.description, [found](const DeviceOptions& options, Ledger& ledger) {
          return open_device(found, options, ledger);
      }) {}

DeviceProbe::~DeviceProbe() = default;

DeviceProbe::Opened& DeviceProbe::opened() {
    if (!opened_) opened_ = std::make_unique<Opened>(open_, probe_budget(description_));
    return *opened_;
}

Backend& DeviceProbe::backend() { return opened().device(); }

Device* DeviceProbe::device() { return &opened().device(); }

std::byte* DeviceProbe::take(std::size_t size) { return opened().take(size); }

void DeviceProbe::write(std::byte* to, std::span<const std::byte> from) { opened().upload(to, from); }

double DeviceProbe::read_seconds(std::span<const std::byte> memory) { return opened().read_seconds(memory); }

bool DeviceProbe::registers_memory() { return opened().registers_memory(); }

double DeviceProbe::copy_seconds(const CopyTest& test) {
    expect_between("copy", test.size, 1, kLargestProbeCopy);
    return test.direction == CopyDirection::kHostToDevice ? opened().upload_seconds(test.size, test.pages)
                                                          : opened().download_seconds(test.size, test.pages);
}

double DeviceProbe::handshake_seconds(std::uint32_t count) {
    expect_between("handshakes", count, 1, kMostHandshakes);
    return opened().handshake_seconds(count);
}

}  // namespace lfm
