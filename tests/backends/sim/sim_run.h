// The little layer on a simulated device: a whole step submitted ahead, staged experts on the copy lane, the host's
// part in between.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backends/sim/sim_device.h"
#include "tests/backends/device_work.h"
#include "tests/backends/sim/little_layer.h"

namespace lfm::test {

inline sim::SimOptions little_options() {
    sim::SimOptions options;
    options.id = LittleLayer::kSelf;
    options.budget = {4 << 20};
    options.context = {1 << 20};
    options.limits = {.n_batch = LittleLayer::kBatch, .n_ctx = LittleLayer::kContext};
    options.rates.matvec_seconds_per_byte.fill(1e-9);
    options.rates.gemm_seconds_per_flop.fill(1e-10);
    options.rates.attention_seconds_per_byte = 2e-9;
    options.rates.operation_seconds = 4e-6;
    options.rates.handshake_seconds = 10e-6;
    options.rates.copy_seconds = 8e-6;
    options.rates.h2d_seconds_per_byte = 1e-10;
    return options;
}

/// Its constructor loads the layer and throws what the device throws.
class SimRun {
public:
    SimRun(const sim::SimOptions& options, Ledger& ledger) : device_(sim::make_sim_device(options, ledger)) { load(); }
    /// On a device that was made before.
    explicit SimRun(std::unique_ptr<sim::SimDevice> device) : device_(std::move(device)) { load(); }

    sim::SimDevice& device() { return *device_; }
    LittleLayer& layer() { return *layer_; }

    /// Returns the logits.
    std::vector<float> step(std::uint32_t position, std::uint32_t n) {
        sim::SimDevice& device = *device_;
        layer_->set_step(position, n);
        device.begin_step();
        const Point staged{Timeline::kCopy, device.last(Timeline::kCopy).value + 1};
        const Point host{Timeline::kHostSignals, device.last(Timeline::kHostSignals).value + 1};
        const Point routed = device.submit(mixer_, std::span<const Point>{});
        device.submit(held_, std::span<const Point>{});
        const Point done = device.submit(output_, std::vector<Point>{staged, host});
        device.flush();
        device.wait(routed);
        std::vector<CopyRegion> regions;
        for (std::size_t i = 0; i < layer_->staged_bytes.size(); ++i)
            regions.push_back({layer_->slots + i * layer_->slot_bytes, layer_->staged_bytes[i].data(),
                               layer_->staged_bytes[i].size()});
        device.copy(regions, std::span(&routed, 1));
        device.host_worked({.after = routed, .done = host, .operations = {}, .seconds = 30e-6, .name = "cold"});
        device.signal();
        device.wait(done);
        device.finish_step();
        std::vector<float> logits(n * LittleLayer::kVocab);
        device.download(std::as_writable_bytes(std::span(logits)),
                        reinterpret_cast<const std::byte*>(layer_->logits.data));
        return logits;
    }

private:
    void load() {
        layer_ = std::make_unique<LittleLayer>([this](const std::byte* from, std::size_t n) {
            DeviceBlock block = device_->allocate(MemoryKind::kOwn, Purpose::kWeights, n);
            if (from != nullptr) {
                const CopyRegion region{block.address(), from, n};
                device_->upload(std::span(&region, 1));
            }
            blocks_.push_back(std::move(block));
            return blocks_.back().address();
        });
        mixer_ = device_->record(layer_->mixer, layer_->step);
        held_ = device_->record(layer_->held, layer_->step);
        output_ = device_->record(layer_->output, layer_->step);
    }

    std::unique_ptr<sim::SimDevice> device_;
    std::vector<DeviceBlock> blocks_;
    std::unique_ptr<LittleLayer> layer_;
    Program mixer_, held_, output_;
};

}  // namespace lfm::test
