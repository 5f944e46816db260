#!/usr/bin/env python3
"""report.py BUILD [-o kernels.json]      registers, spills and loads under way of each kernel of a build's modules
report.py --compile NVCC [-o …]          without a build: of the kernels of one token, for sm_86 and sm_90

One entry for each kernel and architecture:
  backend, architecture   "cuda", "sm_90" or "hip", "gfx90a"
  kernel, type            "gate_up", "Q4_0"; type null: without weights
  registers               of a thread; AMD's: vector registers
  spills                  bytes stored and loaded by a thread; AMD's: registers that were spilled
  loads_in_flight         CUDA: loads from device memory that a warp has under way at most in its main loop; null: no such loop
  bytes_in_flight         of a lane, likewise
  loop                    what the main loop is made of (cubin.py); null: there is none
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import cubin

SOURCE = pathlib.Path(__file__).resolve().parents[2]
HOT_FILES = ["weights/q4_0.cu", "weights/q8_0.cu", "weights/q4_k.cu", "weights/q6_k.cu", "weights/f16.cu", "attention_split.cu"]
HOT_ARCHITECTURES = ["86", "90"]


def demangle(names):
    names = list(names)
    if not names:
        return {}
    output = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, output.splitlines()))


def short_name(demangled, is_weight):
    """ "void lfm::gpu::(anonymous namespace)::rms_norm<float>(lfm::gpu::RmsNormPush)" → "rms_norm<float>"; of kernels with weights
    without the weight, which the file tells."""
    name = demangled.replace("(anonymous namespace)::", "").replace("lfm::gpu::", "").removeprefix("void ")
    depth = 0
    for at, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            name = name[:at]
            break
    return name.split("<")[0] if is_weight else name


def type_of(file_name):
    """ "kernels-weights-q4_0.cu.o.resources" → "Q4_0"."""
    found = re.search(r"weights[-/](\w+)\.cu", file_name)
    return found.group(1).upper() if found else None


def ptxas_resources(text):
    """(kernel, architecture) → registers, spilled bytes."""
    found = {}
    for part in text.split("Compiling entry function '")[1:]:
        name, architecture = re.match(r"([^']*)' for '([^']*)'", part).groups()
        stores, loads = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part).groups()
        found[name, architecture] = int(re.search(r"Used (\d+) registers", part).group(1)), int(stores) + int(loads)
    return found


def cuda_entries(resources, cubins):
    type_name, entries = type_of(resources.name), []
    known = ptxas_resources(resources.read_text())
    names = demangle({name for name, _ in known})
    for path in sorted(cubins):
        architecture, kernels = cubin.read_cubin(path)
        for name, code in kernels:
            registers, spills = known[name, architecture]
            loop = cubin.main_loop(code)
            entries.append({
                "backend": "cuda", "architecture": architecture, "kernel": short_name(names[name], type_name), "type": type_name,
                "registers": registers, "spills": spills, "loads_in_flight": loop and loop["loads_in_flight"],
                "bytes_in_flight": loop and loop["bytes_in_flight"], "loop": loop,
            })
    return entries


def hip_entries(resources, architectures):
    """The compiler reports the architectures one after another, in the order of their names."""
    type_name, entries, turns = type_of(resources.name), [], {}
    parts = resources.read_text().split("remark: Function Name: ")[1:]
    names = demangle({part.split()[0] for part in parts})
    for part in parts:
        name = part.split()[0]
        turn = turns[name] = turns.get(name, -1) + 1
        number = {key: int(re.search(key + r"[^:\n]*: (\d+)", part).group(1)) for key in ("VGPRs", "SGPRs Spill", "VGPRs Spill", "ScratchSize")}
        entries.append({
            "backend": "hip", "architecture": sorted(architectures)[turn], "kernel": short_name(names[name], type_name), "type": type_name,
            "registers": number["VGPRs"], "spills": number["SGPRs Spill"] + number["VGPRs Spill"], "scratch": number["ScratchSize"],
            "loads_in_flight": None, "bytes_in_flight": None, "loop": None,
        })
    return entries


def cached(build, name):
    found = re.search(f"^{name}:[A-Z]+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M)
    return found.group(1).split(";") if found else []


def of_build(build):
    entries = []
    for resources in sorted(build.glob("backends/gpu/lfm-cuda/*.resources")):
        entries += cuda_entries(resources, pathlib.Path(str(resources).replace(".resources", ".parts")).glob("*.cubin"))
    for resources in sorted(build.glob("backends/gpu/lfm-hip/*.resources")):
        entries += hip_entries(resources, cached(build, "LFM_HIP_ARCHITECTURES"))
    return entries


def of_compiler(nvcc, files, architectures):
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            for architecture in architectures:
                name = pathlib.Path(folder) / f"{file.replace('/', '-')}.{architecture}"
                command = [nvcc, "-std=c++20", "-O3", "-DLFM_GPU_CUDA", "-I", SOURCE, f"-arch=sm_{architecture}", "-cubin", "--resource-usage",
                           "-o", f"{name}.cubin", SOURCE / "backends/gpu/kernels" / file]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != 0:
                    sys.exit(done.stderr)
                resources = pathlib.Path(f"{name}.resources")
                resources.write_text(done.stdout + done.stderr)
                entries += cuda_entries(resources, [f"{name}.cubin"])
    return entries


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, help="else stdout")
    parser.add_argument("--compile", metavar="NVCC")
    parser.add_argument("--files", default=",".join(HOT_FILES), help="to compile, below backends/gpu/kernels")
    parser.add_argument("--architectures", default=",".join(HOT_ARCHITECTURES), help="to compile for")
    options = parser.parse_args()
    if (options.build is None) == (options.compile is None):
        parser.error("expected a build's folder or --compile NVCC")
    return options


def main():
    options = arguments()
    if options.compile:
        entries = of_compiler(options.compile, options.files.split(","), options.architectures.split(","))
    else:
        entries = of_build(options.build)
    if not entries:
        sys.exit(f"{options.build}: found no reports of lfm-cuda or lfm-hip; are the modules built?")
    text = json.dumps({"kernels": entries}, indent=1) + "\n"
    if options.output:
        options.output.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
