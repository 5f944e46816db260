// Machines put together from parts.
#include <gtest/gtest.h>

#include <utility>

#include "memory/error.h"
#include "tests/planner/sample_machine.h"

namespace lfm::test {
namespace {

MachinePart host_part(const std::string& name) {
    MachinePart part{name, "", sample_host(), {}};
    part.host->name = "processor of " + name;
    return part;
}

MachinePart card(const std::string& name) {
    MachinePart part{name, "", std::nullopt, {sample_device()}};
    part.devices[0].name = name;
    return part;
}

std::vector<std::string> device_names(const MachineProfile& machine) {
    std::vector<std::string> names;
    for (const DeviceProfile& device : machine.devices) names.push_back(device.name);
    return names;
}

using Names = std::vector<std::string>;

TEST(MergeParts, DevicesAddUpInOrder) {
    const std::vector<MachinePart> parts{card("a"), host_part("h"), card("b"), card("a")};
    const MachineProfile machine = merge_parts(parts, nullptr);
    EXPECT_EQ(device_names(machine), (Names{"a", "b", "a"}));
    EXPECT_EQ(machine.host.name, "processor of h");
    EXPECT_EQ(machine.name, "a+h+b+a");
}

TEST(MergeParts, TheLastHostCounts) {
    MachinePart whole = host_part("whole");
    whole.devices = card("inside").devices;
    const std::vector<MachinePart> parts{host_part("first"), whole, host_part("last")};
    const MachineProfile machine = merge_parts(parts, nullptr);
    EXPECT_EQ(machine.host.name, "processor of last");
    EXPECT_EQ(device_names(machine), Names{"inside"});
    EXPECT_EQ(machine.name, "whole+last");  // nothing is left of the first
}

TEST(MergeParts, TheDefaultHostIsForMachinesWithoutOne) {
    MachinePart other = host_part("other");
    other.devices = card("not asked for").devices;
    const std::vector<MachinePart> cards{card("a")};
    const MachineProfile machine = merge_parts(cards, &other);
    EXPECT_EQ(machine.host.name, "processor of other");
    EXPECT_EQ(device_names(machine), Names{"a"});
    EXPECT_EQ(machine.name, "a+other");
    const std::vector<MachinePart> both{card("a"), host_part("own")};
    EXPECT_EQ(merge_parts(both, &other).host.name, "processor of own");
    EXPECT_EQ(merge_parts({}, &other).name, "other");
}

TEST(MergeParts, WithoutAHostThereIsNoMachine) {
    const std::vector<MachinePart> cards{card("a"), card("b")};
    const MachinePart no_host = card("c");
    for (const MachinePart* other : {static_cast<const MachinePart*>(nullptr), &no_host}) {
        try {
            merge_parts(cards, other);
            ADD_FAILURE() << "accepted";
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kUsage);
            EXPECT_NE(std::string(error.what()).find("host"), std::string::npos) << error.what();
        }
    }
    EXPECT_THROW(merge_parts({}, nullptr), Error);
}

TEST(MergeParts, AMachineOfTooManyDevicesIsRefused) {
    std::vector<MachinePart> parts(64, card("a"));
    parts.push_back(host_part("h"));
    EXPECT_EQ(merge_parts(parts, nullptr).devices.size(), 64u);
    parts.push_back(card("b"));
    EXPECT_THROW(merge_parts(parts, nullptr), Error);
}

TEST(MergeParts, MeasuredOnlyWhenEveryPartWas) {
    std::vector<MachinePart> parts{card("a"), host_part("h")};
    parts[0].measured_at = "2026-11-22T14:15:00Z";
    EXPECT_EQ(merge_parts(parts, nullptr).measured_at, "");
    parts[1].measured_at = "2026-10-01T00:00:00Z";
    EXPECT_EQ(merge_parts(parts, nullptr).measured_at, "2026-10-01T00:00:00Z");
    std::swap(parts[0], parts[1]);
    EXPECT_EQ(merge_parts(parts, nullptr).measured_at, "2026-10-01T00:00:00Z");
    parts.insert(parts.begin(), host_part("replaced"));
    EXPECT_EQ(merge_parts(parts, nullptr).measured_at, "2026-10-01T00:00:00Z");
}

TEST(MergeParts, AMachineIsAPartAgain) {
    const MachinePart part = sample_part();
    EXPECT_EQ(to_part(merge_parts({&part, 1}, nullptr)), part);
}

}  // namespace
}  // namespace lfm::test
