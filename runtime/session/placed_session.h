// A model and a session where the plan puts them; with smaller plans when the device refuses memory, at last on the
// host alone.
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

struct PlacedOptions {
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

class PlacedSession {
public:
    /// Throws Error{kShortfall} with the figures, before anything is allocated, when there is no plan within the
    /// budgets or the RAM that is available does not hold what the session takes; and what loading on the host alone
    /// throws. `ledger` outlives it.
    PlacedSession(const PlacedOptions& options, Ledger& ledger);
    PlacedSession(const PlacedSession&) = delete;
    PlacedSession& operator=(const PlacedSession&) = delete;

    /// Moves to another split when the host has shown to be faster or slower than its profile says, and the other
    /// split repays the move within as many tokens as were decoded so far (planner/plan/resplit.h). Says so by
    /// `options.note`. `options` as it was made with: a Planning, adaptation on. Between steps. Returns whether.
    /// Throws as the constructor does; then it holds no session any more.
    bool resplit(const PlacedOptions& options, Ledger& ledger);
    /// Gives everything up, then places the model by this plan, smaller ones when the device refuses memory. A new
    /// session, at the same address, continues the sequence. Throws likewise.
    void move_to(const Plan& plan, const PlacedOptions& options, Ledger& ledger);

    const Plan& plan() const { return model_->plan(); }
    const Model& model() const { return *model_; }
    Session& session() { return *session_; }
    const Session& session() const { return *session_; }
    /// Null when everything is on the host.
    const Device* device() const { return device_.get(); }

private:
    struct Wanted;
    void place_or_less(Wanted wanted, const PlacedOptions& options, Ledger& ledger);
    void place(const Plan& plan, const Wanted& wanted, const PlacedOptions& options, Ledger& ledger);
    void move(Wanted wanted, const PlacedOptions& options, Ledger& ledger);
    void clear();

    std::unique_ptr<Device> device_;
    std::optional<Model> model_;
    std::optional<Session> session_;
    std::uint64_t considered_at_ = 0;  // decode steps when another split was last thought of
};

/// Throws Error{kShortfall} saying which budget is too small, by how much.
Plan plan_or_throw(const ModelDescription& model, const MachineProfile& machine, const PlanRequest& request);

}  // namespace lfm
