// A machine with every kind of entry.
#pragma once

#include "planner/machine/machine_json.h"

namespace lfm::test {

inline Figure measured(double median) { return {median, Measured{7, 0.04}}; }
inline Figure stated(double figure) { return {figure, Datasheet{"https://example.org/card", 0.75}}; }
inline Figure assumed(double figure) { return {figure, Assumed{"nobody says"}}; }

inline HostProfile sample_host() {
    HostProfile host;
    host.name = "Processor «8»";
    host.instruction_set = "avx2";
    host.n_cores = 8;
    host.n_threads = 16;
    host.memory = Bytes{68719476736};
    host.pinnable = Bytes{34359738368};
    host.read_bandwidth = {{1, measured(18.25)}, {4, measured(41)}, {16, stated(51.2)}};
    host.matvec_gb_per_s = {{{DType::kF16, measured(40.5)}, {DType::kQ4_K, assumed(33.3)}}, measured(35)};
    host.gemm_gflop_per_s = {{}, assumed(1800)};
    host.attention_gb_per_s = measured(21.7);
    host.operation_us = measured(3.9);
    return host;
}

inline DeviceProfile sample_device() {
    DeviceProfile device;
    device.name = "Card \"A\"";
    device.backend = "cuda";
    device.memory_kind = DeviceMemory::kOwn;
    device.memory = Bytes{12884901888};
    device.free = Bytes{11884901888};
    device.context = Bytes{367001600};
    device.matvec_gb_per_s = {{{DType::kQ4_0, stated(360)}, {DType::kQ8_0, measured(291.5)}}, std::nullopt};
    device.gemm_gflop_per_s = {{}, stated(51000)};
    device.read_gb_per_s = measured(330.125);
    device.attention_gb_per_s = stated(180);
    device.operation_us = assumed(2.5);
    device.handshake_us = assumed(12);
    device.copy_us = measured(9.75);
    device.h2d_pinned_gb_per_s = stated(31.5);
    device.h2d_pageable_gb_per_s = stated(12);
    device.h2d_registered_gb_per_s = measured(30.25);
    device.d2h_pinned_gb_per_s = stated(31.25);
    device.d2h_pageable_gb_per_s = stated(11);
    device.h2d_while_host_reads_gb_per_s = assumed(22.7);
    device.host_reads_while_h2d_gb_per_s = assumed(49);
    return device;
}

inline MachinePart sample_part() { return {"sample", "2026-11-22T14:15:00Z", sample_host(), {sample_device()}}; }

}  // namespace lfm::test
