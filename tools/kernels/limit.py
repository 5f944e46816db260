#!/usr/bin/env python3
"""limit.py kernels.json      the kernels of one token beside what cards allow, as a table: computed, not measured

kernels.json is report.py's. A main loop's turn reads so many bytes of weights (or of cached keys and values) a lane. Of each card:
  groups       of the kernel on a processor, by threads, registers and shared memory
  in flight    bytes of weights that a processor's lanes have under way, all loads of a turn in the share that the loop keeps
               under way; needed is bandwidth · latency / processors (Little's law)
  slots        warp instructions for 1 KiB of weights; a processor issues four a clock, two of them to the ALU pipe
  supply       what of the card's bandwidth these allow: the least of bytes in flight, issue slots and ALU pipe; above 1 memory binds
"""
import json
import sys

# Processors, GHz, GB/s: data sheets (NVIDIA H200 SXM, GeForce RTX 4090, 3090, 4060 Ti). Threads and bytes of shared memory of a
# processor: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
CARDS = {
    "H200": ("sm_90", 132, 1.98, 4800, 2048, 228 << 10),
    "RTX 4090": ("sm_89", 128, 2.52, 1008, 1536, 100 << 10),
    "RTX 3090": ("sm_86", 82, 1.70, 936, 1536, 100 << 10),
    "RTX 4060 Ti": ("sm_89", 34, 2.54, 288, 1536, 100 << 10),
}
# Of a load that misses all caches while memory is busy. Idle cards take 480 to 540 clocks, 0.2 to 0.3 µs (Luo et al., "Benchmarking
# and Dissecting the Nvidia Hopper GPU Architecture", arXiv 2402.13499); under load three times as much is assumed.
LATENCY_S = 0.8e-6
ISSUED_A_CLOCK, ALU_A_CLOCK = 4, 2  # warps; 64 lanes of integers a clock (Programming Guide, throughput of arithmetic instructions)

REGISTERS, SHARED_RESERVED = 65536, 1 << 10  # of a processor; shared memory that the driver takes of each group
# What a lane reads of weights a turn: four items (vector_input.h) of blocks of memory/dtype.h.
TURN_BYTES = {"Q4_0": 4 * 18, "Q8_0": 4 * 34, "Q4_K": 4 * 18, "Q6_K": 4 * 26.25, "F16": 4 * 16}
# Threads and shared bytes of a group: VectorShared and DownShared of vector.h. F16's hold no x, so they are smaller.
THREADS = {"vector": 256, "gate_up": 256, "down": 256, "attention_split": 128}
SHARED = {"vector": 15424, "gate_up": 15424, "down": 15944, "attention_split": 4096}


def groups_of(kernel, registers, card):
    _, _, _, _, threads_most, shared_most = CARDS[card]
    threads = THREADS[kernel]
    by_registers = REGISTERS // (threads * (-(-registers // 8) * 8))
    return min(threads_most // threads, by_registers, shared_most // (SHARED[kernel] + SHARED_RESERVED))


def row_of(entry, card):
    _, n, ghz, gb_s, _, _ = CARDS[card]
    kernel = entry["kernel"].split("<")[0]
    loop = entry["loop"]
    turn = TURN_BYTES.get(entry["type"], loop["bytes_loaded"])
    groups = groups_of(kernel, entry["registers"], card)
    in_flight = groups * THREADS[kernel] * turn * loop["loads_in_flight"] / loop["loads"]
    needed = gb_s * 1e9 * LATENCY_S / n
    # A warp's turn reads 32 lanes' bytes: so many instructions for 1 KiB of weights.
    slots, alu = (loop[what] * 1024 / (32 * turn) for what in ("instructions", "alu"))
    kib_a_clock = gb_s / n / ghz / 1024
    supply = {"in flight": in_flight / needed, "issue": ISSUED_A_CLOCK / (slots * kib_a_clock), "ALU": ALU_A_CLOCK / (alu * kib_a_clock)}
    least = min(supply, key=supply.get)
    return [f"{kernel} {entry['type'] or 'F16 cache'}", card, entry["registers"], groups, f"{loop['loads_in_flight']} of {loop['loads']}",
            f"{in_flight / 1024:.0f} of {needed / 1024:.0f} KiB", f"{slots:.0f}, {alu:.0f}",
            f"{supply[least]:.1f} ({least})", f"{min(1, supply[least]):.0%}"]


def is_hot(entry):
    if entry["kernel"] in ("vector", "gate_up", "down"):
        return entry["type"] in TURN_BYTES
    return entry["kernel"] == "attention_split<64u, EightHalves, 4u, false>"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    entries = [entry for entry in json.load(open(sys.argv[1]))["kernels"] if is_hot(entry)]
    print("| kernel | card | registers | groups | loads in flight | bytes in flight, needed | slots, ALU a KiB | supply | share |")
    print("|---|---|---|---|---|---|---|---|---|")
    order = ["gate_up", "down", "vector", "attention_split<64u, EightHalves, 4u, false>"]
    for entry in sorted(entries, key=lambda each: (order.index(each["kernel"]), list(TURN_BYTES).index(each["type"]) if each["type"] else 0)):
        for card, facts in CARDS.items():
            if facts[0] == entry["architecture"]:
                print("| " + " | ".join(str(word) for word in row_of(entry, card)) + " |")


main()
