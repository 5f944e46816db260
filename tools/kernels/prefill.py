#!/usr/bin/env python3
"""prefill.py NVCC [--kernels DIRECTORY]      the kernels of many tokens beside the matrix units they feed, as a table

Compiles them for some cards' architectures and counts the instructions of a full turn of their main loops: 64 columns of
quantised weights, 32 of others. --kernels: of another checkout's backends/gpu/kernels, for a comparison.

The model: a scheduler issues one instruction a clock, an FFMA takes the pipe of an A100 (sm_80) two clocks, a product of
matrices the unit as many clocks as the card's rate says. The share of the unit's rate is at most
    products · clocks of a product / max(instructions, FFMAs · clocks of one).
What waiting costs is not in it.
"""
import argparse
import pathlib
import subprocess
import tempfile

import cubin

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TYPES = ["q4_0", "q8_0", "q4_k", "q6_k", "f16"]
MATRIX = ("IMMA", "HMMA")


class Card:
    """Dense rates in 10^12 operations a second as the vendor's data sheets have them, f16 with f32 sums; clocks in GHz (boost)."""

    def __init__(self, name, architecture, int8, f16, n_processors, clock, fma_clocks=1):
        self.name, self.architecture, self.fma_clocks = name, architecture, fma_clocks
        a_clock = n_processors * 4 * clock * 1e9  # clocks of all schedulers
        self.int8, self.f16 = int8 * 1e12 / a_clock, f16 * 1e12 / a_clock  # operations of a scheduler a clock


CARDS = [
    Card("A100", "80", 624, 312, 108, 1.41, fma_clocks=2),
    Card("RTX 3090", "86", 284, 71, 82, 1.695),
    Card("H200", "90", 1979, 989, 132, 1.83),
    Card("RTX 5090", "120", 838, 209.5, 170, 2.407),
]
# Operations of a product: 16 x 8 x 32 of bytes where a block has one scale, x 16 where each run has; x 16 of halves.
OPERATIONS = {"q4_0": 8192, "q8_0": 8192, "q4_k": 8192, "q6_k": 4096, "f16": 4096}


def turn_of(code):
    """(products, FFMAs, instructions) of a turn that does all there is to do."""
    loops = sorted(cubin.find_loops(code), key=lambda loop: loop[1] - loop[0])
    is_wide_reading = [w for w in (True, False) if all(cubin.branch_target(last, code[last], w) == first for first, last in loops)][0]
    first, last = next((a, b) for a, b in loops if any(i.name in MATRIX for i in code[a:b + 1]) and any(i.load_bytes() for i in code[a:b + 1]))
    inner = [(a, b) for a, b in loops if first <= a and b < last]
    jumps = {i: cubin.branch_target(i, code[i], is_wide_reading) for i in range(first, last) if code[i].name == "BRA"}
    begins = sorted({first} | {i + 1 for i in jumps} | {to for to in jumps.values() if first <= to <= last})
    ends = dict(zip(begins, begins[1:] + [last + 1]))

    def counts(begin, end):
        # A loop within takes two turns: one for each block of 32 columns.
        times = [2 if any(a <= i <= b for a, b in inner) else 1 for i in range(begin, end)]
        total = lambda names: sum(n for n, each in zip(times, code[begin:end]) if each.name in names)
        return (total(MATRIX), total(("FFMA",)), total(("LDGSTS",)), total(("LDG",)), total(("STS",))), sum(times)

    best = {}  # of a block: the fullest way from it to the end, then the shortest

    def way(begin):
        if begin in best:
            return best[begin]
        end = ends[begin]
        work, n = counts(begin, end)
        jump = code[end - 1] if end - 1 in jumps else None
        follow = []
        if jump is not None and end <= jumps[end - 1] <= last:
            follow.append(jumps[end - 1])
        is_conditional = jump is None or jump.low >> 12 & 0xF != 7
        if end <= last and is_conditional:
            follow.append(end)
        ways = [way(each) for each in follow]
        if ways:
            next_work, next_n = max(ways, key=lambda each: (each[0], -each[1]))
            work, n = tuple(a + b for a, b in zip(work, next_work)), n + next_n
        best[begin] = work, n
        return best[begin]

    import sys
    sys.setrecursionlimit(10000)
    (products, ffmas, *_), instructions = way(first)
    return products, ffmas, instructions


def compiled(nvcc, kernels, type_name, architecture, folder):
    path = pathlib.Path(folder) / f"{type_name}_{architecture}.cubin"
    root = kernels.resolve().parents[2]
    subprocess.run([nvcc, "-std=c++20", "-O3", "-DLFM_GPU_CUDA", "-I", root, f"-arch=sm_{architecture}", "-cubin", "-o", path,
                    kernels.resolve() / "weights" / f"{type_name}.cu"], check=True)
    return path


def rows(path, type_name, card):
    for name, code in cubin.read_cubin(path)[1]:
        if "tile_fast" not in name and "tile_half" not in name:
            continue
        products, ffmas, instructions = turn_of(code)
        kernel = "matmul_tile_half" if "tile_half" in name else "matmul_tile_wide" if "Lj8E" in name else "matmul_tile_fast"
        rate = card.f16 if type_name == "f16" else card.int8
        share = products * OPERATIONS[type_name] / rate / max(instructions, ffmas * card.fma_clocks)
        yield kernel, products, instructions, min(share, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nvcc")
    parser.add_argument("--kernels", type=pathlib.Path, default=SOURCE / "backends/gpu/kernels")
    parser.add_argument("--cubins", type=pathlib.Path, help="TYPE_ARCHITECTURE.cubin, compiled already")
    options = parser.parse_args()
    print("| card | weights | kernel | products | instructions | for a product | share |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for card in CARDS:
            for type_name in TYPES:
                path = options.cubins / f"{type_name}_{card.architecture}.cubin" if options.cubins else \
                    compiled(options.nvcc, options.kernels, type_name, card.architecture, folder)
                for kernel, products, instructions, share in sorted(rows(path, type_name, card)):
                    print(f"| {card.name} | {type_name.upper()} | {kernel} | {products} | {instructions} | "
                          f"{instructions / products:.1f} | {100 * share:.0f} % |")


if __name__ == "__main__":
    main()
