#!/usr/bin/env bash
# Tests and measures on a machine that has a GPU with its driver, and nothing else: no network, no packages.
set -uo pipefail

help() {
    cat <<'END'
usage: gpu_check.sh [OPTIONS] BUNDLE [OUT_DIR]

Runs the tests that need a GPU, then lfm-probe and lfm-bench on the models' real shapes, within 8 minutes. Prints one
table; OUT_DIR (default ./gpu-check) gets report.md, every log and every figure.

  BUNDLE           build/gpu-bundle.tar.gz of "tools/dev gpu-bundle", or its folder
  --quick          shorter tests, tiny models, twice the time: for drivers that compute on the CPU
  --limit SECONDS  of the whole run (default 480, with --quick 960); what finds no time is left out, and said
  --backend NAME   to measure: cuda, hip or vulkan; default: the first of them that has a device
  --device N       of it, from 0; the tests use the first that can be used
  --tests-only, --bench-only

Exit code: 0 ok, 1 a test failed, found no device or ran out of time, 2 usage. Measurements that fail are said, no more.
END
}

say() { echo "gpu_check: $*" >&2; }
usage() { say "$*"; help >&2; exit 2; }
number() { [[ $1 =~ ^[0-9]{1,6}$ ]] || usage "expected a number, found $1"; }

quick=no limit="" device="" backend="" tests=yes benches=yes places=()
while (($#)); do
    case $1 in
        --quick) quick=yes ;;
        --limit | --device)
            (($# > 1)) || usage "expected a number after $1"
            number "$2"
            [[ $1 == --limit ]] && limit=$2 || device=$2
            shift ;;
        --backend)
            (($# > 1)) && [[ $2 =~ ^(cuda|hip|vulkan)$ ]] || usage "expected cuda, hip or vulkan after $1"
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
[[ $quick == yes ]] && factor=2
limit=${limit:-$((480 * factor))}
bundle=$(realpath -e -- "${places[0]}") || exit 2
mkdir -p -- "${places[1]:-gpu-check}" && out=$(realpath -e -- "${places[1]:-gpu-check}") || exit 2

work=$(mktemp -d "${TMPDIR:-/tmp}/gpu-check-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{tmp,home,logs,rows,chosen}
if [[ -d $bundle ]]; then lfm=$bundle; else
    tar -xzf "$bundle" -C "$work" || usage "$bundle: expected a bundle of tools/dev gpu-bundle"
    lfm=$work/gpu-bundle
fi
[[ -x $lfm/bin/lfm-bench ]] || usage "$bundle: expected bin/lfm-bench in it"

# ---- what programs see ----

export HOME=$work/home TMPDIR=$work/tmp XDG_CACHE_HOME=$work/home LC_ALL=C.UTF-8 NO_COLOR=1
export PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
[[ -d $lfm/golden ]] && export LFM_GOLDEN=$lfm/golden
[[ -d $lfm/layers ]] && export VK_LAYER_PATH=$lfm/layers
drivers=/usr/local/nvidia  # where some clusters mount NVIDIA's, unknown to the system's loaders

system_library() {  # its path, empty when there is none
    local folder
    for folder in ${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH//:/ }} "$drivers/lib64"; do
        [[ -e $folder/$1 ]] && { echo "$folder/$1"; return; }
    done
    { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | awk -v name="$1" '$1 == name && /x86-64/ {print $NF; exit}'
}

# The system's own where they do: a driver was made for them.
choose_libraries() {
    local file name found
    for file in "$lfm"/fallback/*; do
        name=${file##*/} found=$(system_library "${file##*/}")
        [[ $name == libstdc++* && -n $found ]] && ! grep -qa GLIBCXX_3.4.30 "$found" && found=""
        [[ -n $found ]] || { ln -s "$file" "$work/chosen/$name"; echo "carried: $name"; }
    done
    export LD_LIBRARY_PATH=$lfm/lib:$work/chosen${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    [[ -d $drivers/lib64 ]] && LD_LIBRARY_PATH+=:$drivers/lib64
}

# The loader finds drivers by their manifests in known folders; also where they lie elsewhere, or are missing.
choose_drivers() {
    [[ -n ${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-} ]] && return
    local files=() file
    for file in "$drivers"/share/vulkan/icd.d/*.json "$drivers"/vulkan/icd.d/*.json \
        {/etc,/usr/share,/usr/local/etc,/usr/local/share}/vulkan/icd.d/*.json; do
        [[ -f $file ]] && files+=("$file")
    done
    [[ ${files[*]-} == *nvidia* ]] || files=($(nvidia_manifest GLX) ${files[@]+"${files[@]}"})
    # Those that compute on the CPU only where there is no other.
    local real=()
    for file in ${files[@]+"${files[@]}"}; do [[ $file == *lvp* || $file == *swrast* ]] || real+=("$file"); done
    # NVIDIA's library for screens fails where there is none; its other one has the same entry.
    try_drivers ${real[@]+"${real[@]}"} || try_drivers $(nvidia_manifest EGL) || try_drivers ${files[@]+"${files[@]}"}
}
nvidia_manifest() {  # GLX or EGL: a manifest for that library, if it is there
    local library
    library=$(system_library "lib$1_nvidia.so.0")
    [[ -n $library ]] || return
    echo "{\"file_format_version\": \"1.0.0\", \"ICD\": {\"library_path\": \"$library\", \"api_version\": \"1.3.0\"}}" \
        >"$work/nvidia_$1.json"
    echo "$work/nvidia_$1.json"
}
try_drivers() {
    (($# > 0)) || return 1
    VK_DRIVER_FILES=$(IFS=:; echo "$*")
    export VK_DRIVER_FILES VK_ICD_FILENAMES=$VK_DRIVER_FILES
    list_devices >"$work/devices" && grep -q '^device' "$work/devices"
}
list_devices() { timeout 60 "$lfm/bin/vulkan_tests" --gtest_filter=VulkanDevice.IsListedWithWhatItIs 2>&1; }

# Whether the module of that name finds a card that can be used.
has_card() {
    [[ -f $lfm/lib/lfm-$1.so ]] && timeout 60 "$lfm/bin/cards_tests" \
        --gtest_filter="Cards/DeviceContract.NothingRunsBeforeFlush/$1" 2>&1 | grep -q '^\[       OK'
}
choose_backend() {
    [[ -z $backend ]] || return
    for backend in cuda hip; do has_card "$backend" && return; done
    backend=vulkan
}

# ---- steps ----

ends=$limit  # of what runs now: tests leave time to measure
left() { echo $((ends - SECONDS)); }
at_most() { local most; most=$(left); echo $((most > $1 ? $1 : most > 1 ? most : 1)); }
most_parallel=$(($(nproc) / 2))  # a test computes on two threads beside the device
((most_parallel < 1)) && most_parallel=1
((most_parallel > 8)) && most_parallel=8

# check NAME SECONDS COMMAND...: in the background, beside others. Its end stands in NAME.end: code, seconds.
check() {
    local name=$1 most=$(($2 * factor))
    shift 2
    while (($(jobs -rp | wc -l) >= most_parallel)); do wait -n; done
    most=$(at_most "$most")
    ((most > 3)) || { echo "left out 0" >"$work/logs/$name.end"; return; }
    (
        begin=$SECONDS
        timeout -k 5 "$most" "$@" >"$work/logs/$name.log" 2>&1 </dev/null
        echo "$? $((SECONDS - begin))" >"$work/logs/$name.end"
    ) &
}

# check_tests NAME SECONDS SHARDS PROGRAM FILTER: nothing where no test has such a name.
check_tests() {
    local name=$1 most=$2 shards=$3 program=$4 filter=$5 i
    "$program" --gtest_filter="$filter" --gtest_list_tests 2>/dev/null | grep -q '^  ' || return
    [[ $quick == yes ]] && shards=1
    for ((i = 0; i < shards; ++i)); do
        check "$name-$i" "$most" env GTEST_TOTAL_SHARDS="$shards" GTEST_SHARD_INDEX="$i" \
            "$program" --gtest_filter="$filter"
    done
}

# Every backend's own tests, and every suite that runs on devices: a new backend's join by their names.
all_tests() {
    local program name
    [[ $benches == yes ]] && ends=$((limit * 55 / 100))
    for program in "$lfm"/bin/*_tests; do
        name=$(basename "$program" _tests)
        [[ $name == model || $name == runtime ]] && continue
        check_tests "$name-operations" 150 2 "$program" '*OperationCases*'
        check_tests "$name-device" 100 1 "$program" '-*OperationCases*:*Validated*'
    done
    check_tests golden 100 1 "$lfm/bin/model_tests" 'Devices/GoldenHybrid.*-*/Sim'
    [[ $quick == no ]] && export LFM_FULL=1
    check_tests placements 220 4 "$lfm/bin/model_tests" 'Devices/RandomPlacements.*-*/Sim'
    check_tests budgets 200 2 "$lfm/bin/runtime_tests" '*DeviceBudget*:VulkanBudget.*:CudaBudget.*:HipBudget.*-*/Sim'
    unset LFM_FULL  # or shaders with checked addresses would be compiled for minutes
    check_tests probe 60 1 "$lfm/bin/runtime_tests" '*DeviceProbeTest.*-*/Sim'
    for program in "$lfm"/bin/*_tests; do
        name=$(basename "$program" _tests)
        [[ $quick == no ]] && check_tests "$name-validated" 150 4 "$program" '*Validated*_calls*'
    done
    check story 60 bash -c tell_a_story
    check too-small-a-budget 60 bash -c refuse_a_budget
    wait
    ends=$limit
}

# The shipped model twice on the device: the same words.
tell_a_story() {
    local words time
    for time in once twice; do
        "$lfm/bin/lfm-run" -q --temp 0 -n 60 --backend "$backend" --profile rtx-4060-ti-16gb --vram-budget 800MiB \
            -p "Tell me a story about a fox." >"$TMPDIR/$time" || return
    done
    cat "$TMPDIR/once"
    [[ -s $TMPDIR/once ]] && cmp "$TMPDIR/once" "$TMPDIR/twice"
}
refuse_a_budget() {
    "$lfm/bin/lfm-bench" --shape lfm2.5-1.2b:Q8_0 --backend "$backend" --profile rtx-4060-ti-16gb --vram-budget 1MiB
    local code=$?
    ((code == 3)) || { echo "expected exit code 3, found $code"; return 1; }
}
export lfm backend
export -f tell_a_story refuse_a_budget

test_table() {
    local end name code seconds passed skipped result
    echo "| test | result | passed | skipped | seconds |"
    echo "|---|---|---:|---:|---:|"
    for end in "$work"/logs/*.end; do
        [[ -f $end ]] || continue
        name=$(basename "$end" .end)
        read -r code seconds <"$end"
        passed=$(grep -cE '^\[       OK \]' "$work/logs/$name.log" 2>/dev/null)
        skipped=$(grep -cE '^\[  SKIPPED \] .*\(' "$work/logs/$name.log" 2>/dev/null)
        case $code in
            0) result=ok ;;
            124 | 137) result="**out of time**" ;;
            left) result="**left out: no time**" seconds=0 ;;
            *) result="**failed** ($code)" ;;
        esac
        [[ $code == 0 && ${passed:-0} == 0 && ${skipped:-0} -gt 0 ]] && result="**all skipped**"
        echo "| $name | $result | ${passed:-} | ${skipped:-} | $seconds |"
    done
}

# bench NAME SECONDS GIB_OF_RAM SHAPE BUDGET: both tests in one run. Figures in rows/NAME.json.
bench() {
    local name=$1 most=$2 gib=$3 shape=$4 budget=$5 begin=$SECONDS free code profile=$out/machine.json
    local sizes=(-p 512 -n 64 -r 3)
    [[ $quick == yes ]] && sizes=(-p 32 -n 4 -r 1) profile=rtx-4060-ti-16gb  # by which a device pays
    free=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
    if ((free < gib)); then echo "$name: left out: needs $gib GiB of RAM, $free are free"; return; fi
    most=$(at_most "$most")
    if ((most < 15)); then echo "$name: left out: no time"; return; fi
    timeout -k 5 "$most" "$lfm/bin/lfm-bench" --shape "$shape" --backend "$backend" --device "$device" --profile "$profile" \
        --vram-budget "$budget" "${sizes[@]}" -o json >"$work/rows/$name.json" 2>"$work/logs/bench-$name.log" </dev/null
    code=$?
    cat "$work/logs/bench-$name.log"
    ((code == 0)) || { echo "$name: exit code $code"; rm -f "$work/rows/$name.json"; }
    echo "$name: $((SECONDS - begin)) s"
}

all_benches() {
    local moe=lfm2moe,n_layer=6,n_embd=512,n_head=8,n_head_kv=2,n_ff=512,n_ff_exp=256,n_expert=16,n_expert_used=4,n_vocab=2000
    if [[ $quick == yes ]]; then
        bench 1-tiny-all 60 1 "$moe:Q4_0" auto
        bench 2-tiny-360MiB 60 1 "$moe:Q4_0" 360MiB
        return
    fi
    bench 1-1.2b-F16 40 4 lfm2.5-1.2b:F16 auto
    bench 2-1.2b-Q8_0 40 3 lfm2.5-1.2b:Q8_0 auto
    bench 3-24b-Q4_0-all 60 16 lfm2-24b-a2b:Q4_0 auto
    bench 4-24b-Q4_0-8GiB 60 16 lfm2-24b-a2b:Q4_0 8GiB
    bench 5-24b-Q8_0-16GiB 90 28 lfm2-24b-a2b:Q8_0 16GiB
    bench 6-24b-Q4_0-12GiB 60 16 lfm2-24b-a2b:Q4_0 12GiB
    bench 7-24b-Q4_0-6GiB 60 16 lfm2-24b-a2b:Q4_0 6GiB
    bench 8-24b-Q8_0-20GiB 90 28 lfm2-24b-a2b:Q8_0 20GiB
    bench 9-24b-Q8_0-12GiB 90 28 lfm2-24b-a2b:Q8_0 12GiB
    bench 10-24b-Q4_0-10GiB 60 16 lfm2-24b-a2b:Q4_0 10GiB
}

# GB/s that the probe read on the device and, at most, on the processor.
read_rates() {
    awk -F'[:,]' '/"read_gb_per_s"/ {of_device = 1} /"read_bandwidth"/ {of_host = 1} /"matvec_gb_per_s"/ {of_host = 0}
        /"(median|stated|assumed)"/ {
            if (of_device) { if (!device) device = $2; of_device = 0 }
            if (of_host && $2 + 0 > host) host = $2 + 0
        }
        END {print device + 0, host + 0}' "$out/machine.json" 2>/dev/null || echo "0 0"
}

bench_table() {
    local device_rate host_rate file
    read -r device_rate host_rate < <(read_rates)
    echo "| model | budget, GiB | peak, GiB | layers | test | tok/s | ± | predicted | ÷ predicted | bound | ÷ bound | hits | MB/tok |"
    echo "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for file in $(ls "$work"/rows/*.json 2>/dev/null | sort -V); do
        awk -v device="$device_rate" -v host="$host_rate" '
            function shown(format, value) { return value > 0 ? sprintf(format, value) : "" }
            match($0, /^    "[a-z_]+": /) {
                value = substr($0, RSTART + RLENGTH); sub(/,$/, "", value); gsub(/"/, "", value)
                of[substr($0, RSTART + 5, RLENGTH - 8)] = value ~ /^-?[0-9.]+(e[-+]?[0-9]+)?$/ ? value + 0 : value
            }
            /^  \}/ {
                sub(/,.*:/, "…:", of["model_type"])
                dense = of["hit_rate"] == "null"
                bound = ratio = 0
                if (of["n_gen"] > 0 && device > 0 && host > 0) {
                    elsewhere = dense ? 0 : (1 - of["hit_rate"]) * of["expert_bytes_per_token"] - of["bus_bytes_per_token"]
                    if (elsewhere < 0) elsewhere = 0
                    seconds = (of["weight_bytes_per_token"] - elsewhere) / device / 1e9
                    if (elsewhere / host / 1e9 > seconds) seconds = elsewhere / host / 1e9
                    bound = 1 / seconds
                }
                if (of["predicted_ts"] > 0) ratio = of["avg_ts"] / of["predicted_ts"]
                printf "| %s | %.1f | %.2f | %s | %s |", of["model_type"], of["vram_budget"] / 1073741824,
                    of["vram_peak"] / 1073741824, of["n_gpu_layers"],
                    (of["n_gen"] > 0 ? "tg" of["n_gen"] : "pp" of["n_prompt"])
                printf " %.1f | %.1f | %s | %s | %s | %s |", of["avg_ts"], of["stddev_ts"],
                    shown("%.1f", of["predicted_ts"]), shown("%.2f", ratio), shown("%.1f", bound),
                    (bound > 0 ? sprintf("%.2f", of["avg_ts"] / bound) : "")
                printf " %s | %.2f |\n", (dense ? "" : sprintf("%.1f %%", 100 * of["hit_rate"])),
                    of["bus_bytes_per_token"] / 1000000
            }' "$file"
    done
    echo
    echo "Bound of decoding: each weight read once at the rates that lfm-probe read ($device_rate GB/s on the device," \
        "$host_rate GB/s on the processor), both side by side and nothing waiting; true when all layers are on the device."
}

# ---- the run ----

{
    echo "system: $(uname -srm), $(nproc) cores, $(awk '/^MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo)"
    echo "processor: $(awk -F': ' '/^model name/ {print $2; exit}' /proc/cpuinfo)"
    choose_libraries
    choose_drivers
    choose_backend
    echo "backend: $backend"
    echo "drivers: ${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-as the loader finds them}}"
    grep -q '^device' "$work/devices" 2>/dev/null || list_devices >"$work/devices"
    grep -E '^device|driver|Skipped|error' "$work/devices"
    command -v nvidia-smi >/dev/null && timeout 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm \
        --format=csv,noheader
    true
} >"$out/system.txt" 2>&1
cat "$out/system.txt"
if [[ -z $device && $backend != vulkan ]]; then
    device=0
elif [[ -z $device ]]; then  # the first that is no emulation, else the first
    device=$(grep '^device' "$work/devices" | grep -v 'emulated\|unusable' | sed -n '1s/^device \([0-9]*\).*/\1/p')
    device=${device:-0}
fi
if [[ $backend == vulkan ]] && ! grep -q '^device' "$work/devices"; then
    cat "$work/devices" >>"$out/system.txt"
    say "no Vulkan device was found; $out/system.txt says more"
    exit 1
fi

rm -f "$out"/{report.md,tests.log,bench.log,bench.json,machine.json}
if [[ $tests == yes ]]; then
    say "tests"
    all_tests
    for log in "$work"/logs/*.log; do echo "==== $(basename "$log" .log)"; tail -c 600000 "$log"; done >"$out/tests.log"
fi
if [[ $benches == yes ]]; then
    say "measuring, $(left) s left"
    {
        timeout -k 5 "$(at_most 60)" "$lfm/bin/lfm-probe" --backend "$backend" --device "$device" -o "$out/machine.json" 2>&1
        all_benches
    } >"$out/bench.log" 2>&1
    tail -c 4000000 "$out/bench.log" >"$work/bench.log" && cp "$work/bench.log" "$out/bench.log"
    {
        echo "["
        separator=""
        for file in $(ls "$work"/rows/*.json 2>/dev/null | sort -V); do
            echo "$separator{\"name\": \"$(basename "$file" .json)\", \"rows\":"
            cat "$file"
            echo "}"
            separator=,
        done
        echo "]"
    } >"$out/bench.json"
fi

{
    echo "# A check on a GPU: commit $(cat "$lfm/commit" 2>/dev/null), $(date -u +%Y-%m-%d)"
    echo
    sed 's/^/    /' "$out/system.txt"
    if [[ $tests == yes ]]; then echo; test_table; fi
    if [[ $benches == yes ]]; then
        echo
        bench_table
        echo
        grep -E 'left out|exit code' "$out/bench.log" | sed 's/^/- /'
    fi
    echo
    echo "The run took $SECONDS s."
    [[ $quick == no ]] || echo "It was a quick one: short tests, tiny models, predicted by another machine's profile."
} >"$out/report.md"
cat "$out/report.md"
failures=$(grep -c '| \*\*' "$out/report.md")
((failures == 0)) || { say "$failures tests failed: $out/tests.log"; exit 1; }
