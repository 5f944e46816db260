// Who holds how many bytes where: every allocation that lasts is entered here, by device and purpose.
#pragma once

#include <cstdint>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "memory/units.h"

namespace lfm {

enum class Purpose : std::uint8_t {
    kMappedWeights,  // pages of the model file; the kernel may drop and reread them
    kWeights,        // weights in memory of our own
    kKvCache,
    kConvState,
    kActivations,  // rows between operations, logits
    kScratch,      // working memory of a backend
    kExperts,      // that stay on a device
    kExpertSlots,  // a device's places for cached experts
    kStaging,      // places of experts copied for one step, rows that host and device share
    kContext,      // a driver's own
};
std::string_view purpose_name(Purpose purpose);

struct LedgerLine {
    DeviceId device;
    Purpose purpose;
    Bytes bytes;
};

/// Thread-safe. Outlives everything entered in it.
class Ledger {
public:
    void add(DeviceId device, Purpose purpose, Bytes bytes);
    void remove(DeviceId device, Purpose purpose, Bytes bytes);

    Bytes total(DeviceId device) const;
    Bytes total(DeviceId device, Purpose purpose) const;
    /// One line per device and purpose with bytes above zero.
    std::vector<LedgerLine> lines() const;

private:
    std::uint64_t& slot(DeviceId device, Purpose purpose);

    mutable std::mutex mutex_;
    std::vector<LedgerLine> lines_;
};

/// An entry that leaves the ledger with its owner.
class LedgerEntry {
public:
    LedgerEntry() = default;
    LedgerEntry(Ledger& ledger, LedgerLine line) : ledger_(&ledger), line_(line) {
        ledger.add(line.device, line.purpose, line.bytes);
    }
    LedgerEntry(LedgerEntry&& other) noexcept : ledger_(std::exchange(other.ledger_, nullptr)), line_(other.line_) {}
    LedgerEntry& operator=(LedgerEntry&& other) noexcept {
        std::swap(ledger_, other.ledger_);
        std::swap(line_, other.line_);
        return *this;
    }
    ~LedgerEntry() {
        if (ledger_ != nullptr) ledger_->remove(line_.device, line_.purpose, line_.bytes);
    }

private:
    Ledger* ledger_ = nullptr;
    LedgerLine line_{};
};

}  // namespace lfm
