#!/usr/bin/env python3
"""What a run of the tests left out, and why: the last lines of "tools/dev test".

usage: left_out_tests.py RESULTS.xml LEFT_OUT.txt
RESULTS.xml is what "ctest --output-junit" wrote; LEFT_OUT.txt has a line for everything that was not even built.
"""

import collections
import re
import sys
import xml.etree.ElementTree as ElementTree

SHOWN_SUITES = 4
# GoogleTest's "file:line: Skipped", and the reason behind it.
SKIPPED = re.compile(r": Skipped\n(.*)")


def suite_of(name):
    """"Cases/LfmRun.Answers/3" belongs to LfmRun."""
    return name.split(".")[0].split("/")[-1]


def skipped(path):
    """Number of all tests, and reason -> names of the tests that it kept from running."""
    reasons, n_tests = collections.defaultdict(list), 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        n_tests += 1
        if case.get("status") == "run" or case.find("skipped") is None and case.get("status") != "notrun":
            continue
        output = case.findtext("system-out") or ""
        found = SKIPPED.search(output)
        said = output.strip().splitlines()
        reason = found.group(1).strip() if found else said[-1].strip() if said else "no reason given"
        reasons[reason].append(case.get("name"))
    return n_tests, reasons


def main(results, left_out):
    n_tests, reasons = skipped(results)
    try:
        with open(left_out, encoding="utf-8") as file:
            not_built = [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        not_built = []
    n_skipped = sum(map(len, reasons.values()))
    if not reasons and not not_built:
        print(f"tools/dev: {n_tests} tests, none left out")
        return
    print(f"tools/dev: {n_tests} tests, of which {n_skipped} were skipped. LEFT OUT:")
    for line in not_built:
        print(f"  {line}")
    for reason, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        suites = sorted({suite_of(name) for name in names})
        shown = ", ".join(suites[:SHOWN_SUITES]) + (", …" if len(suites) > SHOWN_SUITES else "")
        print(f"  {len(names)} of {shown}: {reason}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
