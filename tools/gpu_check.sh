#!/usr/bin/env bash
# Tests and measures on a machine that has a GPU with its driver, and nothing else: no network, no packages. What it
# finds is in the output folder as soon as it is known, whatever ends the run.
set -uo pipefail

help() {
    cat <<'TEXT'
usage: gpu_check.sh [OPTIONS] BUNDLE [OUT_DIR]

Measures decoding, then kernels, then prefill, runs the tests that need a GPU, and the vendor's checks of memory, within
9 minutes. Prints one report; OUT_DIR (default ./gpu-check) gets report.md, bench.json and machine.json with the figures,
system.txt, and a log each of tests, measuring, profiler and sanitizer: at most 8 files, 64 MB.

  BUNDLE           build/gpu-bundle.tar.gz of "tools/dev gpu-bundle", or its folder
  --quick          shorter tests, tiny models, more time for each: for drivers that compute on the CPU
  --limit SECONDS  of the whole run (default 540, with --quick 960); what finds no time is left out, and said
  --backend NAME   to measure: cuda, hip or vulkan; default: the first of them that has a device. emulated32 and
                   emulated64 make it a dry run: the emulation of tests in the card's place, within 3 minutes
  --device N       of it, from 0; the tests use the first that can be used
  --tests-only, --bench-only

Every stage has a limit of its own and is killed with all it started; the next one starts regardless. At most two
processes use the card at once.
Exit code: 0 ok, 1 a stage failed, found no device or ran out of time, 2 usage.
TEXT
}

say() { echo "gpu_check: $*" >&2; }
usage() { say "$*"; help >&2; exit 2; }
number() { [[ $1 =~ ^[0-9]{1,6}$ ]] || usage "expected a number, found $1"; }

scale=full limit="" device="" backend="" tests=yes benches=yes places=()
while (($#)); do
    case $1 in
        --quick) scale=quick ;;
        --limit | --device)
            (($# > 1)) || usage "expected a number after $1"
            number "$2"
            [[ $1 == --limit ]] && limit=$2 || device=$2
            shift ;;
        --backend)
            (($# > 1)) && [[ $2 =~ ^(cuda|hip|vulkan|emulated32|emulated64)$ ]] ||
                usage "expected cuda, hip or vulkan after $1"
            backend=$2
            shift ;;
        --tests-only) benches=no ;;
        --bench-only) tests=no ;;
        -h | --help) help; exit 0 ;;
        -*) usage "unknown option $1" ;;
        *) places+=("$1") ;;
    esac
    shift
done
((${#places[@]} == 1 || ${#places[@]} == 2)) || usage "expected a bundle and where results go, found ${#places[@]} names"
factor=1
[[ $scale == quick ]] && factor=2
[[ $backend == emulated* ]] && scale=dry
case $scale in
    full) limit=${limit:-540} ;;
    quick) limit=${limit:-960} ;;
    dry) limit=${limit:-170} factor=$(((${limit:-170} + 169) / 170)) ;;  # a longer limit lengthens every stage's too
esac
bundle=$(realpath -e -- "${places[0]}") || exit 2
mkdir -p -- "${places[1]:-gpu-check}" && out=$(realpath -e -- "${places[1]:-gpu-check}") || exit 2
here=$(realpath -e -- "$(dirname "${BASH_SOURCE[0]}")")

work=$(mktemp -d "${TMPDIR:-/tmp}/gpu-check-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{tmp,home,logs,rows,chosen,stages,groups,kernels,devices}
if [[ -d $bundle ]]; then lfm=$bundle; else
    tar -xzf "$bundle" -C "$work" || usage "$bundle: expected a bundle of tools/dev gpu-bundle"
    lfm=$work/gpu-bundle
fi
[[ -x $lfm/bin/lfm-bench ]] || usage "$bundle: expected bin/lfm-bench in it"

export HOME=$work/home TMPDIR=$work/tmp XDG_CACHE_HOME=$work/home LC_ALL=C.UTF-8 NO_COLOR=1
export PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
[[ -d $lfm/golden ]] && export LFM_GOLDEN=$lfm/golden
[[ -d $lfm/layers ]] && export VK_LAYER_PATH=$lfm/layers
[[ $scale == dry ]] && export LFM_EMULATED_CARD=$backend
tiny_budget=360MiB

for part in libraries stages measure profilers tests report; do source "$here/gpu_check/$part.sh"; done
rm -f "$out"/{report.md,bench.json,machine.json,system.txt,{tests,bench,profiler,sanitizer}.log}
trap end_early TERM INT HUP
watch_over
trap 'kill "$watcher" 2>/dev/null; rm -rf "$work"' EXIT

describe_system >"$out/system.txt" 2>&1
cat "$out/system.txt"
if ! devices_of "$backend" | usable "$backend" >/dev/null; then
    warn "no device of $backend can be used"
    write_figures
    write_report
    cat "$out/report.md"
    exit 1
fi
shipped=$(choose_shipped) profile=$shipped

if [[ $benches == yes ]]; then
    say "measuring"
    [[ $tests == yes ]] && ends=$((limit * 60 / 100))
    probe
    decode
    kernels
    prefill
fi
if [[ $tests == yes ]]; then
    say "tests, $((limit - SECONDS)) s left"
    [[ $benches == yes ]] && ends=$((limit * 85 / 100))
    if [[ $scale == dry ]]; then dry_tests; else all_tests; fi
    ends=$limit
    sanitize
fi
if [[ $benches == yes ]]; then
    ends=$limit
    by_vulkan
    more_budgets
    write_figures
fi
write_report
cat "$out/report.md"
failures=$(grep -c '^|.*| \*\*.*|' "$out/report.md")
((failures == 0)) || { say "$failures lines with a failure"; exit 1; }
