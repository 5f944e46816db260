// A model and its session where the device options put them: what lfm-eval and lfm-bench share.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "planner/model/routing.h"
#include "tools/common/device_choice.h"

namespace lfm::tools {

using ModelLoader = std::function<Model(const Plan& plan, const DeviceLoad& to)>;

struct OpenRequest {
    const ModelDescription& model;
    const DeviceChoice& device;
    SessionOptions session;
    std::optional<Routing> routing;  // to plan for; nothing: uniform
    ModelLoader load;
    WeightMemory weights = WeightMemory::kFilePages;
};

/// For the host alone, which needs no plan, only room. Throws Error{kShortfall} with both figures.
void check_ram(const ModelDescription& model, const SessionOptions& session, Bytes budget);

/// Plans, loads, and says on the console where the plan could not be followed. Throws Error{kShortfall} with the
/// figures when a budget is too small, and what loading throws.
Placed open_placed(const OpenRequest& request, const Console& console, Ledger& ledger);

/// Opens the file anew for every attempt to load it. `model` and `ledger` outlive the loader.
ModelLoader file_loader(const std::string& path, const ModelDescription& model, Ledger& ledger);

/// The model and the profiles that the options name: what no output may replace.
std::vector<std::string> files_read(const po::variables_map& values);

/// All of that for the file of --model.
class PlacedModel {
public:
    /// Says on the console which device takes part.
    PlacedModel(const po::variables_map& values, const SessionOptions& session, const Console& console);

    const Model& model() const { return placed_.model(); }
    Session& session() { return placed_.session(); }
    const Placed& placed() const { return placed_; }
    const DeviceChoice& device() const { return device_; }
    /// Says that the device was lost, if it was.
    void note_loss(const Console& console) const;

private:
    struct Opened;  // what is known before a byte is loaded
    PlacedModel(const Opened& opened, const Console& console);
    static Opened open(const po::variables_map& values, const SessionOptions& session, const Console& console);

    Ledger ledger_;
    const DeviceChoice device_;
    Placed placed_;
};

}  // namespace lfm::tools
