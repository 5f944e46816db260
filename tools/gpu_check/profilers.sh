# Times of single kernels, and memory checked by the vendor's own tools, where they are and work. Part of gpu_check.sh.

# tool NAME FILE...: prints the path of a program: on the PATH, else the last of the files that exists, the newest.
tool() {
    local name=$1 file last=""
    shift
    command -v "$name" && return
    for file in "$@"; do [[ -x $file ]] && last=$file; done
    echo "$last"
}

ncu=(--csv --graph-profiling node --clock-control none --cache-control none --target-processes all
     --metrics gpu__time_duration.sum,dram__bytes_read.sum,launch__registers_per_thread)

# Sets `command` to one decode step.
one_step() {  # SHAPE BUDGET
    bench_command "$1" "$2" -p 0 -n 1 -r 1 --no-warmup
}

# Tries each profiler on a small model, and chooses the first that measures anything here.
choose_profiler() {
    local path refused
    profiler="" profiler_path=""
    path=$(tool ncu /usr/local/cuda*/bin/ncu /opt/nvidia/nsight-compute/*/ncu)
    if [[ -z $path ]]; then
        warn "no times of single kernels by ncu: it is not installed"
    else
        one_step "$tiny" auto
        stage ncu-tried 10 profiler "$path" "${ncu[@]}" --launch-count 3 "${command[@]}"
        if grep -q gpu__time_duration "$work/logs/ncu-tried.log"; then profiler=ncu profiler_path=$path; return; fi
        refused=$(grep -m1 '==ERROR==' "$work/logs/ncu-tried.log")
        warn "no times of single kernels by ncu: ${refused:-it gave none within 10 s}"
    fi
    path=$(tool nsys /usr/local/cuda*/bin/nsys /opt/nvidia/nsight-systems/*/bin/nsys /opt/nvidia/nsight-compute/*/host/target-linux-x64/nsys)
    if [[ -z $path ]]; then
        warn "no times of single kernels by nsys: it is not installed"
        return
    fi
    stage nsys-tried 10 profiler nsys_times "$path" nsys-tried "$tiny" auto
    if grep -q 'Time (%)' "$work/logs/nsys-tried.log"; then profiler=nsys profiler_path=$path; return; fi
    warn "no times of single kernels by nsys: it gave none within 10 s"
}

nsys_times() {  # PATH NAME SHAPE BUDGET
    one_step "$3" "$4"
    "$1" profile --force-overwrite true --cuda-graph-trace=node -t cuda -s none -o "$work/$2" "${command[@]}" >/dev/null &&
        "$1" stats --force-export true --report cuda_gpu_kern_sum --format csv "$work/$2.nsys-rep"
}

kernel_times() {  # NAME SECONDS SHAPE BUDGET
    case $profiler in
        ncu)
            one_step "$3" "$4"
            stage "kernels-$1" "$2" profiler "$profiler_path" "${ncu[@]}" "${command[@]}"
            ncu_table <"$work/logs/kernels-$1.log" >"$work/kernels/$1"
            ;;
        nsys)
            stage "kernels-$1" "$2" profiler nsys_times "$profiler_path" "kernels-$1" "$3" "$4"
            nsys_table <"$work/logs/kernels-$1.log" >"$work/kernels/$1"
            ;;
    esac
}

# Tables of tab-separated lines: kernel, launches, µs in all, bytes read, registers; the longest time first. What was
# launched while loading, before the step, is counted too.
csv_fields='function fields(line,   n, i, c, quoted, text) {  # into f[1…n]
    n = 1; text = ""; quoted = 0; delete f
    for (i = 1; i <= length(line); ++i) {
        c = substr(line, i, 1)
        if (c == "\"") quoted = !quoted
        else if (c == "," && !quoted) { f[n++] = text; text = "" }
        else text = text c
    }
    f[n] = text
    return n
}
function short(kernel) { sub(/^void /, "", kernel); gsub(/\(anonymous namespace\)::/, "", kernel); sub(/\(.*$/, "", kernel); gsub(/lfm::gpu::/, "", kernel); return kernel }
function number(text) { gsub(/,/, "", text); return text + 0 }
function print_table(   kernel) {
    for (kernel in launches)
        printf "%s\t%d\t%.2f\t%.0f\t%d\n", kernel, launches[kernel], us[kernel], bytes[kernel], registers[kernel] | "sort -t\"\t\" -k3,3nr"
    close("sort -t\"\t\" -k3,3nr")
}'
ncu_table() {
    awk "$csv_fields"'
        /^"ID"/ { n = fields($0); for (i = 1; i <= n; ++i) at[f[i]] = i; next }
        /^"[0-9]+",/ && at["Metric Value"] {
            fields($0)
            kernel = short(f[at["Kernel Name"]]); value = number(f[at["Metric Value"]])
            metric = f[at["Metric Name"]]; unit = f[at["Metric Unit"]]
            if (metric == "gpu__time_duration.sum") {
                us[kernel] += unit ~ /^(ns|nsecond)/ ? value / 1000 : unit ~ /^(ms|msecond)/ ? value * 1000 : value
                ++launches[kernel]
            } else if (metric == "dram__bytes_read.sum")
                bytes[kernel] += value * (unit ~ /^K/ ? 1e3 : unit ~ /^M/ ? 1e6 : unit ~ /^G/ ? 1e9 : 1)
            else if (metric == "launch__registers_per_thread") registers[kernel] = value
        }
        END { print_table() }'
}
nsys_table() {
    awk "$csv_fields"'
        /^"?Time \(%\)/ { n = fields($0); for (i = 1; i <= n; ++i) at[f[i]] = i; next }
        at["Name"] && /^[0-9]/ {
            fields($0)
            kernel = short(f[at["Name"]])
            us[kernel] += number(f[at["Total Time (ns)"]]) / 1000
            launches[kernel] += number(f[at["Instances"]])
        }
        END { print_table() }'
}

# NVIDIA's checks of memory, of single operations alone, as none of their kernels waits for another thread.
sanitize() {
    local path check
    [[ $backend == cuda || $scale == dry ]] || return
    path=$(tool compute-sanitizer /usr/local/cuda*/bin/compute-sanitizer /opt/nvidia/nsight-compute/*/compute-sanitizer)
    if [[ -z $path ]]; then warn "memory is not checked: compute-sanitizer is not installed"; return; fi
    stage sanitizer-tried 10 sanitizer "$path" --tool memcheck "$lfm/bin/cards_tests" --gtest_filter="$operations/add"
    if ! grep -q 'ERROR SUMMARY' "$work/logs/sanitizer-tried.log"; then
        warn "memory is not checked: compute-sanitizer gave no summary within 10 s$(
            sed -n '/^=========.*\(rror\|not supported\)/{s/^========= */: /p;q}' "$work/logs/sanitizer-tried.log")"
        return
    fi
    for check in memcheck racecheck synccheck initcheck; do
        stage "$check" 35 sanitizer "$path" --tool "$check" --error-exitcode 86 \
            "$lfm/bin/cards_tests" --gtest_filter="$few_operations"
    done
}
