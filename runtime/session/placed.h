// Places a model and a session where a plan puts them; with smaller plans when the device refuses memory, at last on
// the host alone.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "backends/device.h"
#include "planner/plan/make_plan.h"
#include "runtime/machine/devices.h"
#include "runtime/session/session.h"
#include "runtime/tensors/model.h"

namespace lfm {

/// What plans are made with.
struct Planning {
    MachineProfile machine;
    PlanRequest request;  // its sizes are the session's
};

/// What weights that no device holds take in RAM.
enum class WeightMemory {
    kFilePages,  // of a mapped file: the system drops them when it needs room, and reads them again
    kOwnPages,   // of this process, those of the device too
    kNone,       // nobody reads them
};

struct PlaceRequest {
    const ModelDescription& model;
    SessionOptions session;
    /// A plan to obey, or what to make one with; neither: the host alone.
    std::variant<std::monostate, Plan, Planning> plan;
    /// Empty: there is no device.
    std::function<std::unique_ptr<Device>(const DeviceOptions& options)> open;
    std::function<Model(const Plan& plan, const DeviceLoad& to)> load;
    LoadProgress progress;
    /// Called with a sentence when the plan could not be followed. May be empty.
    std::function<void(const std::string& text)> note;
    WeightMemory weights = WeightMemory::kFilePages;
    DeviceMemory device_memory = DeviceMemory::kOwn;  // kSharedWithHost: a simulated device, or one without its own
    /// What this process may take in RAM now; nothing: as the system says.
    std::optional<Bytes> available;
};

/// A placed model and its session: a move-only value. Moving it moves neither model nor session in memory.
class Placed {
public:
    const Plan& plan() const { return model().plan(); }
    const Model& model() const { return *parts_->model; }
    Session& session() { return *parts_->session; }
    const Session& session() const { return *parts_->session; }
    /// Null when everything is on the host.
    const Device* device() const { return parts_->device.get(); }

private:
    friend class Placer;
    struct Parts {  // each refers to those before it
        std::unique_ptr<Device> device;
        std::optional<Model> model;
        std::optional<Session> session;
    };
    std::unique_ptr<Parts> parts_ = std::make_unique<Parts>();
};

/// Throws Error{kShortfall} with the figures, before anything is allocated, when there is no plan within the budgets or
/// the RAM that is available does not hold what the session takes; and what loading on the host alone throws. `ledger`
/// outlives what is returned.
Placed place(const PlaceRequest& request, Ledger& ledger);

/// Gives the old one's memory back, then places the same model by another plan, or a smaller one when the device
/// refuses memory and `request` has a Planning. The new session continues the sequence. Between steps. Throws as place
/// does; the old one is gone all the same.
Placed place_anew(Placed old, const Plan& plan, const PlaceRequest& request, Ledger& ledger);

/// Throws Error{kShortfall} saying which budget is too small, by how much.
Plan plan_or_throw(const ModelDescription& model, const MachineProfile& machine, const PlanRequest& request);

}  // namespace lfm
