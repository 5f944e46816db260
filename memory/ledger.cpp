#include "memory/ledger.h"

namespace lfm {

std::string_view purpose_name(Purpose purpose) {
    switch (purpose) {
        case Purpose::kMappedWeights: return "weights (mapped file)";
        case Purpose::kWeights: return "weights";
        case Purpose::kKvCache: return "KV cache";
        case Purpose::kConvState: return "conv state";
        case Purpose::kActivations: return "activations";
        case Purpose::kScratch: return "scratch";
        case Purpose::kExperts: return "experts";
        case Purpose::kExpertSlots: return "expert slots";
        case Purpose::kStaging: return "staging";
        case Purpose::kContext: return "driver context";
    }
    return "?";
}

std::uint64_t& Ledger::slot(DeviceId device, Purpose purpose) {
    for (LedgerLine& line : lines_)
        if (line.device == device && line.purpose == purpose) return line.bytes.value;
    lines_.push_back({device, purpose, Bytes{0}});
    return lines_.back().bytes.value;
}

void Ledger::add(DeviceId device, Purpose purpose, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    slot(device, purpose) += bytes.value;
}

void Ledger::remove(DeviceId device, Purpose purpose, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    slot(device, purpose) -= bytes.value;
}

Bytes Ledger::total(DeviceId device) const {
    const std::lock_guard lock(mutex_);
    Bytes sum;
    for (const LedgerLine& line : lines_)
        if (line.device == device) sum += line.bytes;
    return sum;
}

Bytes Ledger::total(DeviceId device, Purpose purpose) const {
    const std::lock_guard lock(mutex_);
    for (const LedgerLine& line : lines_)
        if (line.device == device && line.purpose == purpose) return line.bytes;
    return {};
}

std::vector<LedgerLine> Ledger::lines() const {
    const std::lock_guard lock(mutex_);
    std::vector<LedgerLine> present;
    for (const LedgerLine& line : lines_)
        if (line.bytes.value > 0) present.push_back(line);
    return present;
}

}  // namespace lfm
