#!/usr/bin/env python3
"""kernel_limits.py cuda|hip BUILD [NVCC]
Checks what the compilers made of the GPU kernels: none spills registers, and the hot ones keep to kernel_limits.json. Reads the
reports of the build's module; where lfm-cuda is not built but nvcc is there, it compiles the kernels of one token. Ends with 77,
which CTest shows as skipped, where there is neither.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tools" / "kernels"))

import report  # noqa: E402

SKIPPED = 77
LEAST = {"loads_in_flight", "bytes_in_flight"}  # the other limits are the most that is allowed


def found_in(entry, what):
    return (entry["loop"] or {}).get(what) if what in ("instructions", "alu") else entry[what]


def name_of(entry):
    return f"{entry['architecture']} {entry['kernel']} {entry['type'] or ''}".strip()


def check_limit(limit, entries, problems):
    """A limit names kernels, types and architectures, and bounds; there must be such kernels where the architecture is built."""
    for architecture in limit["architectures"]:
        if not any(entry["architecture"] == architecture for entry in entries):
            continue
        for kernel in limit["kernels"]:
            for type_name in limit["types"]:
                matching = [entry for entry in entries
                            if (entry["architecture"], entry["kernel"], entry["type"]) == (architecture, kernel, type_name)]
                if len(matching) != 1:
                    problems.append(f"{architecture} {kernel} {type_name}: expected one kernel of the name, found {len(matching)}")
                for entry in matching:
                    for what, bound in limit["bounds"].items():
                        found = found_in(entry, what)
                        if found is None or (found < bound if what in LEAST else found > bound):
                            problems.append(f"{name_of(entry)}: expected at {'least' if what in LEAST else 'most'} {bound} {what}, found {found}")


def main():
    backend, build, nvcc = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    is_built = (build / "lib" / f"lfm-{backend}.so").exists()
    entries = [entry for entry in report.of_build(build) if entry["backend"] == backend] if is_built else []
    if is_built and not entries:
        sys.exit(f"lfm-{backend}.so: expected the compiler's reports beside its objects, found none")
    if not entries and backend == "cuda" and nvcc:
        entries = report.of_compiler(nvcc, report.HOT_FILES, report.HOT_ARCHITECTURES)
    if not entries:
        print(f"left out: lfm-{backend} is not built" + (", and there is no nvcc" if backend == "cuda" else ""))
        sys.exit(SKIPPED)
    problems = [f"{name_of(entry)}: spills {entry['spills']}, scratch {entry.get('scratch', 0)} bytes"
                for entry in entries if entry["spills"] or entry.get("scratch")]
    for limit in json.loads((HERE / "kernel_limits.json").read_text())[backend]:
        check_limit(limit, entries, problems)
    architectures = sorted({entry["architecture"] for entry in entries})
    print(f"{len(entries)} kernels on {', '.join(architectures)}: {len(problems)} beyond their limits")
    sys.exit("\n".join(problems) if problems else 0)


main()
