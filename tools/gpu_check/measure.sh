# What lfm-probe and lfm-bench measure. Part of gpu_check.sh.

tiny=lfm2moe,n_layer=6,n_embd=512,n_head=8,n_head_kv=2,n_ff=512,n_ff_exp=256,n_expert=16,n_expert_used=4,n_vocab=2000:Q4_0

# The emulation is too slow to be measured: in dry runs lfm-probe measures what else is there, and the device's figures
# are those of a shipped profile.
probe() {
    local place=(--backend "$backend" --device "$device") most=40
    [[ $scale == dry ]] && place=() most=20
    stage probe "$most" bench "$lfm/bin/lfm-probe" --quick "${place[@]}" -o "$work/machine.json"
    choose_profile
}

# The measured profile, else a shipped one: figures need a plan, and a plan a profile.
choose_profile() {
    if [[ -s $work/machine.json ]]; then
        profile=$work/machine.json
        cp "$profile" "$out/machine.json"
        [[ $scale == dry ]] && profile+=" $shipped"
        return
    fi
    profile=$shipped
    warn "lfm-probe gave no profile: planned and predicted with the shipped $profile"
}

# A card's own, by its name; else one that is near by its memory.
choose_shipped() {
    local name file word all gib
    name=$(devices_of "$backend" | usable "$backend" | head -1 | tr 'A-Z' 'a-z')
    for file in "$lfm"/share/lfm/profiles/gpu/*.json; do
        all=yes
        for word in $(basename "$file" .json | tr '-' ' '); do
            [[ $word == rtx || $word == sxm || $word == *gb || $name == *"$word"* ]] || all=no
        done
        [[ $all == yes ]] && { basename "$file" .json; return; }
    done
    gib=$(sed -n 's/.*, \([0-9]*\)[.0-9]* GiB.*/\1/p' <<<"$name")
    if ((${gib:-0} >= 64)); then echo h100-sxm-80gb; else echo rtx-4060-ti-16gb; fi
}

bench_command() {  # SHAPE BUDGET ARGUMENTS...: sets `command`
    local shape=$1 budget=$2 each
    shift 2
    command=("$lfm/bin/lfm-bench" --shape "$shape" --backend "$backend" --device "$device")
    for each in $profile; do command+=(--profile "$each"); done
    command+=(--vram-budget "$budget" "$@" -o json)
}

# bench NAME SECONDS GIB_OF_RAM SHAPE BUDGET ARGUMENTS...: figures in rows/NAME.json.
bench() {
    local name=$1 most=$2 gib=$3 shape=$4 budget=$5 command=()
    shift 5
    trust_memory "$name" "$gib"
    bench_command "$shape" "$budget" "$@"
    stage "$name" "$most" bench into "$work/rows/$name.json" "${command[@]}"
    if [[ $ended == ok ]]; then facts "$name"; else rm -f "$work/rows/$name.json"; fi
    write_figures
}
into() { local file=$1; shift; "$@" >"$file"; }

# trust_memory NAME GIB: warns when less memory is free, and lets the bench try all the same, as what is free may grow
# when memory is taken.
trust_memory() {
    local free needed=$(($2 * 1024))
    free=$(free_memory "$needed")
    ((free < needed)) || return
    warn "$1 needs $2 GiB of RAM and $((free / 1024)) are free: tried all the same"
    [[ -s $work/machine.json ]] || return
    # The plan takes the RAM from the profile's host, so that is raised.
    awk -v needed=$((needed * 1048576 / 4 * 5)) '/"host": \{/ {of_host = 1}
        of_host && match($0, /"memory_bytes": [0-9]+/) {
            of_host = 0
            if (substr($0, RSTART + 16, RLENGTH - 16) + 0 < needed) {
                printf "%s\"memory_bytes\": %d%s\n", substr($0, 1, RSTART - 1), needed, substr($0, RSTART + RLENGTH); next
            }
        } {print}' "$work/machine.json" >"$work/more.json" && mv "$work/more.json" "$work/machine.json"
}

# Most wanted first: a step of one token with everything on the card, and with experts on both sides.
decode() {
    local sizes=(-p 0 -n 64 -r 3)
    if [[ $scale != full ]]; then
        sizes=(-p 0 -n 3 -r 1 --no-warmup)
        bench decode-resident 40 1 "$tiny" auto "${sizes[@]}"
        bench decode-hybrid 40 1 "$tiny" "$tiny_budget" "${sizes[@]}"
        LFM_EARLY_START=1 bench decode-early 40 1 "$tiny" auto "${sizes[@]}"
        return
    fi
    bench decode-resident 70 16 lfm2-24b-a2b:Q4_0 auto "${sizes[@]}"
    bench decode-hybrid 60 16 lfm2-24b-a2b:Q4_0 8GiB "${sizes[@]}"
    # Kernels that start while the one before runs; the tests compare their bits.
    LFM_EARLY_START=1 bench decode-early 60 16 lfm2-24b-a2b:Q4_0 auto "${sizes[@]}"
    bench decode-1.2b-F16 30 4 lfm2.5-1.2b:F16 auto "${sizes[@]}"
    bench decode-1.2b-Q8_0 30 3 lfm2.5-1.2b:Q8_0 auto "${sizes[@]}"
}

kernels() {
    choose_profiler
    if [[ $scale == full ]]; then
        kernel_times resident 60 lfm2-24b-a2b:Q4_0 auto
        kernel_times hybrid 60 lfm2-24b-a2b:Q4_0 8GiB
    else
        kernel_times resident 30 "$tiny" auto
        kernel_times hybrid 30 "$tiny" "$tiny_budget"
    fi
}

prefill() {
    local sizes=(-p 512 -n 0 -r 3)
    if [[ $scale != full ]]; then
        sizes=(-p 8 -n 0 -r 1 --no-warmup)
        bench prefill-resident 40 1 "$tiny" auto "${sizes[@]}"
        bench prefill-hybrid 40 1 "$tiny" "$tiny_budget" "${sizes[@]}"
        return
    fi
    bench prefill-resident 60 16 lfm2-24b-a2b:Q4_0 auto "${sizes[@]}"
    bench prefill-hybrid 60 16 lfm2-24b-a2b:Q4_0 8GiB "${sizes[@]}"
    bench prefill-1.2b-F16 30 4 lfm2.5-1.2b:F16 auto "${sizes[@]}"
}

# The same card by Vulkan, where its driver has it: what the other backend is worth.
by_vulkan() {
    local backend=vulkan device="" tiny_budget=auto
    [[ $scale == full ]] || return
    if ! devices_of vulkan | usable vulkan | grep -qv 'emulated$'; then
        warn "nothing is measured by Vulkan: $(devices_of vulkan | head -1)"
        return
    fi
    choose_device
    bench vulkan-decode 40 16 lfm2-24b-a2b:Q4_0 auto -p 0 -n 64 -r 3
    bench vulkan-prefill 40 16 lfm2-24b-a2b:Q4_0 auto -p 512 -n 0 -r 3
}

# With what time is left.
more_budgets() {
    [[ $scale == full ]] || return
    local each type budget gib
    for each in Q8_0:16 Q4_0:12 Q4_0:6 Q8_0:20 Q8_0:12 Q4_0:10; do
        if (($(left) < 20)); then echo "left out for lack of time: $each and what comes after" >>"$work/warnings"; break; fi
        type=${each%:*} budget=${each#*:} gib=16
        [[ $type == Q8_0 ]] && gib=28
        bench "decode-$type-${budget}GiB" 60 "$gib" "lfm2-24b-a2b:$type" "${budget}GiB" -p 0 -n 64 -r 3
        bench "prefill-$type-${budget}GiB" 60 "$gib" "lfm2-24b-a2b:$type" "${budget}GiB" -p 512 -n 0 -r 3
    done
}
