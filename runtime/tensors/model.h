// A model ready to run: its description, its weights in their planned places, and the memory behind them.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "memory/error.h"
#include "memory/gguf.h"
#include "memory/host_buffer.h"
#include "memory/ledger.h"
#include "planner/model/model.h"
#include "planner/plan/plan.h"
#include "runtime/tensors/upload.h"
#include "runtime/tensors/weights.h"

namespace lfm {

/// The device that the plan names, which outlives the model, and a callback for the progress of copying to it.
struct DeviceLoad {
    Device* device = nullptr;
    LoadProgress progress;
    std::uint32_t n_threads = 1;  // that copy
};

class Model {
public:
    /// Uses the mapped file's pages as they are; what the plan puts on the device is copied there and its pages are
    /// given back. `ledger` outlives the model. Throws Error{kUsage} when the plan uses a device and none is given,
    /// Error{kShortfall} when the device refuses memory, Error{kInvalidModel} when the file is not the one described or
    /// changes meanwhile.
    static Model load(GgufFile file, const ModelDescription& description, const Plan& plan, Ledger& ledger,
                      const DeviceLoad& to = {});
    /// Random weights of the described shapes, in memory that the model owns and keeps, also when it copies them to the
    /// device. `plan` as for load.
    static Model random(const ModelDescription& description, const Plan& plan, std::uint64_t seed, Ledger& ledger,
                        const DeviceLoad& to = {});
    /// Weights that nobody reads: addresses whose pages are never written, except for vectors. For simulated time.
    static Model absent(const ModelDescription& description, const Plan& plan, Ledger& ledger, const DeviceLoad& to);

    const ModelDescription& description() const { return description_; }
    const HyperParameters& hyper() const { return description_.hyper; }
    const Plan& plan() const { return plan_; }
    const Weights& weights() const { return *weights_; }
    /// Null when everything is on the host.
    Device* device() const { return device_; }
    /// What was copied there while loading.
    const Uploaded& uploaded() const { return uploaded_; }
    /// The data section: every weight of the model.
    std::span<const std::byte> data() const { return data_; }

    /// Names file, tensor and offset when the file was cut or written to since it was opened, or cannot be read;
    /// nothing while the weights are what they were. Reading weights never fails, so what was computed with them counts
    /// only when there is no error afterwards. Costs one system call, none for weights that are not a file's.
    std::optional<Error> file_error() const;

    /// Brings all pages of the weights that the host computes with into memory, so that the first token does not wait
    /// for the disk. Reports progress. Does nothing for weights that are not a file's, or that would not fit.
    void read_ahead(const LoadProgress& progress) const;

private:
    Model(const ModelDescription& description, const Plan& plan, Device* device);
    void upload(const DeviceLoad& to);
    Bytes drop_uploaded() const;
    std::vector<std::span<const std::byte>> on_host() const;

    ModelDescription description_;
    Plan plan_;
    Device* device_ = nullptr;
    std::optional<GgufFile> file_;
    LedgerEntry mapped_;
    HostBuffer own_;
    std::span<const std::byte> data_;
    std::optional<Weights> weights_;
    Uploaded uploaded_;
};

}  // namespace lfm
