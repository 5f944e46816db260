# report.md and bench.json: written anew as stages end, so that an early end keeps what was known. Part of gpu_check.sh.

# facts NAME: reads the first row of lfm-bench's JSON in rows/NAME.json into fact[NAME.key], and the device's remarks.
declare -A fact
remarks=()
facts() {
    local line of_remarks=no
    while IFS= read -r line; do
        [[ $line == '  }'* ]] && break
        [[ $line == '    "'* ]] && of_remarks=no
        [[ $line == '    "device_remarks": ['* ]] && of_remarks=yes
        if [[ $of_remarks == yes && $line =~ ^\ {6}'"'(.*)'"',?$ && " ${remarks[*]-} " != *"${BASH_REMATCH[1]}"* ]]; then
            remarks+=("${BASH_REMATCH[1]}")
        fi
        [[ $line =~ ^'    "'([a-z_]+)'": '(.*[^,]),?$ ]] && fact[$1.${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
    done <"$work/rows/$1.json"
} 2>/dev/null

write_figures() {
    local separator file name key stage result seconds passed skipped
    {
        printf '{\n"commit": "%s",\n"backend": "%s",\n' "$(cat "$lfm/commit" 2>/dev/null)" "$backend"
        for key in decode_nodes graph; do
            printf '"%s": {"resident": %s, "hybrid": %s},\n' "$key" \
                "${fact[decode-resident.$key]-null}" "${fact[decode-hybrid.$key]-null}"
        done
        for key in queue_limit driver_queue; do printf '"%s": %s,\n' "$key" "${fact[decode-resident.$key]-null}"; done
        # The file is an object with the one key "kernels"; its braces are left out.
        if [[ -s $lfm/kernels.json ]]; then sed '1d;$d' "$lfm/kernels.json"; else echo '"kernels": []'; fi
        echo ,
        printf '"kernel_times": {'
        separator=""
        for name in resident hybrid; do
            printf '%s"%s": [' "$separator" "$name"
            [[ -f $work/kernels/$name ]] && awk -F'\t' '{
                gsub(/["\\]/, "", $1)
                printf "%s\n  {\"kernel\": \"%s\", \"launches\": %d, \"us\": %s, \"bytes_read\": %s, \"registers\": %d}",
                    (NR > 1 ? "," : ""), $1, $2, $3, $4, $5
            }' "$work/kernels/$name"
            printf ']'
            separator=", "
        done
        printf '},\n"stages": ['
        separator=""
        for file in "$work"/stages/*; do
            [[ -f $file ]] || continue
            result_of "$file"
            printf '%s\n  {"name": "%s", "result": "%s", "seconds": %s}' "$separator" "$stage" "${result//'*'/}" "$seconds"
            separator=,
        done
        printf '],\n"benches": ['
        separator=""
        for file in "$work"/rows/*.json; do
            [[ -s $file ]] || continue
            printf '%s\n{"name": "%s", "rows": ' "$separator" "$(basename "$file" .json)"
            cat "$file"
            printf '}'
            separator=,
        done
        printf ']\n}\n'
    } >"$work/bench.json" && cp "$work/bench.json" "$out/bench.json"
}

write_report() {
    reported=$SECONDS
    {
        echo "# A check on a GPU: commit $(cat "$lfm/commit" 2>/dev/null), $(date -u +%Y-%m-%d)"
        echo
        sed 's/^/    /' "$out/system.txt"
        if [[ -s $work/warnings ]]; then echo; sed 's/^/- /' "$work/warnings"; fi
        ((${#remarks[@]} == 0)) || { echo; echo "The device went slower ways than it could:"; echo; printf -- '- %s\n' "${remarks[@]}"; }
        echo
        decode_table
        echo
        bench_table
        kernel_tables
        compiled_table
        echo
        stage_table
        echo
        echo "The run took $SECONDS s of at most $limit."
        case $scale in
            quick) echo "It was a quick one: short tests, tiny models, predicted by another machine's profile." ;;
            dry) echo "It was a dry run: an emulation in the card's place. Its speeds say nothing of any card." ;;
        esac
    } >"$work/report.md" 2>/dev/null && cp "$work/report.md" "$out/report.md"
}

decode_table() {
    local kind
    echo "| step of one token | nodes | as a graph | most launches under way | tok/s |"
    echo "|---|---:|---|---:|---:|"
    for kind in resident hybrid; do
        echo "| $kind | $(shown "decode-$kind.decode_nodes") | $(shown "decode-$kind.graph") |" \
            "$(shown "decode-$kind.queue_limit") | $(shown "decode-$kind.avg_ts") |"
    done
}
shown() {  # FACT: its value as a cell's text
    local value=${fact[$1]-}
    case $value in
        true) value=yes ;;
        false) value=no ;;
        null) value="" ;;
        *.??*) value=${value%"${value#*.?}"} ;;
    esac
    echo "$value"
}

stage_table() {
    local file stage result seconds passed skipped
    echo "| stage | result | passed | skipped | seconds |"
    echo "|---|---|---:|---:|---:|"
    for file in "$work"/stages/*; do
        [[ -f $file ]] || continue
        result_of "$file"
        echo "| $stage | $result | $passed | $skipped | $seconds |"
    done
}

# What the compiler reports of Hopper's code, for which a bundle has a module.
compiled_table() {
    [[ -s $lfm/kernels.json ]] || return
    echo
    echo "| kernel (sm_90, by its compiler) | type | registers | spills | loads under way |"
    echo "|---|---|---:|---:|---:|"
    awk '/^  \{/ {delete of}
        match($0, /^   "[a-z_]+": /) {
            value = substr($0, RSTART + RLENGTH); sub(/,$/, "", value); gsub(/"/, "", value)
            of[substr($0, RSTART + 4, RLENGTH - 7)] = value
        }
        /^  \}/ && of["architecture"] == "sm_90" && of["loads_in_flight"] != "null" {
            printf "| %s | %s | %d | %d | %d |\n", of["kernel"], (of["type"] == "null" ? "" : of["type"]), of["registers"],
                of["spills"], of["loads_in_flight"]
        }' "$lfm/kernels.json"
}

kernel_tables() {
    local name
    for name in resident hybrid; do
        [[ -s $work/kernels/$name ]] || continue
        echo
        echo "| kernels of the $name step, loading included | launches | µs | GB/s read | registers |"
        echo "|---|---:|---:|---:|---:|"
        head -25 "$work/kernels/$name" | awk -F'\t' '{
            printf "| %s | %d | %.1f | %s | %s |\n", $1, $2, $3, ($4 > 0 ? sprintf("%.0f", $4 / $3 / 1000) : ""), ($5 > 0 ? $5 : "")
        }'
    done
}

# Prints two rates of the probe in GB/s: reading on the device, and the highest reading of the processor.
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
    echo "| run | model | budget, GiB | peak, GiB | layers | test | tok/s | ± | predicted | ÷ predicted | bound | ÷ bound | hits | MB/tok |"
    echo "|---|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for file in "$work"/rows/*.json; do
        [[ -s $file ]] && awk -v run="$(basename "$file" .json)" -v device="$device_rate" -v host="$host_rate" '
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
                printf "| %s | %s | %.1f | %.2f | %s | %s |", run, of["model_type"], of["vram_budget"] / 1073741824,
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
