# The tests that need a GPU. Part of gpu_check.sh.

operations=All/CardOperationCases.MeetTheBars  # of cards_tests
# Some of them: those that every step has, and those that the emulation computes quickly.
few_operations=$operations/matmul_Q4_0:$operations/rms_norm:$operations/short_conv:$operations/attention:$operations/route:$operations/expert_ffn
quick_operations=$operations/embed:$operations/swiglu:$operations/add:$operations/copy

# check_tests NAME SECONDS SHARDS PROGRAM FILTER: a stage for each shard; none where no test matches.
check_tests() {
    local name=$1 most=$2 shards=$3 program=$4 filter=$5 i
    quickly 20 "$program" --gtest_filter="$filter" --gtest_list_tests | grep -q '^  ' || return
    [[ $scale == full ]] || shards=1
    for ((i = 0; i < shards; ++i)); do
        stage_beside "$name${shards:+-$((i + 1))}" "$most" tests \
            env GTEST_TOTAL_SHARDS="$shards" GTEST_SHARD_INDEX="$i" "$program" --gtest_filter="$filter"
    done
}

# Every backend's own tests, and every suite that runs on devices: those of a new backend are found by their names.
all_tests() {
    local program name
    for program in "$lfm"/bin/*_tests; do
        name=$(basename "$program" _tests)
        [[ $name == model || $name == runtime ]] && continue
        check_tests "$name-device" 60 1 "$program" '-*OperationCases*:*Validated*'
        check_tests "$name-operations" 100 2 "$program" '*OperationCases*'
    done
    check_tests golden 60 1 "$lfm/bin/model_tests" 'Devices/GoldenHybrid.*-*/Sim:*/GpuWarp*'
    check_tests early-start 60 1 "$lfm/bin/runtime_tests" 'Kinds/EarlyStart.*-*/GpuWarp*'
    stage_beside story 40 tests tell_a_story
    stage_beside too-small-a-budget 30 tests refuse_a_budget
    [[ $scale == full ]] && export LFM_FULL=1
    check_tests placements 120 2 "$lfm/bin/model_tests" 'Devices/RandomPlacements.*-*/Sim:*/GpuWarp*'
    check_tests budgets 100 1 "$lfm/bin/runtime_tests" \
        '*DeviceBudget*:VulkanBudget.*:CudaBudget.*:HipBudget.*-*/Sim:*/GpuWarp*'
    unset LFM_FULL  # or shaders with checked addresses would be compiled for minutes
    check_tests probe 60 1 "$lfm/bin/runtime_tests" 'Devices/DeviceProbeTest.*-*/Sim:*/GpuWarp*'
    for program in "$lfm"/bin/*_tests; do
        name=$(basename "$program" _tests)
        [[ $scale == full ]] && check_tests "$name-validated" 60 2 "$program" '*Validated*_calls*'
    done
    wait_for_others 1
    write_report
}

# With the emulation in the card's place: few tests, as it is slow, and in the program that tests real cards.
dry_tests() {
    check_tests cards-device 20 1 "$lfm/bin/cards_tests" 'Cards/DeviceContract.*/emulated'
    check_tests cards-operations 30 1 "$lfm/bin/cards_tests" "$quick_operations"
    stage_beside story 40 tests tell_a_story
    stage_beside too-small-a-budget 20 tests refuse_a_budget
    wait_for_others 1
    write_report
}

# Runs the shipped model twice on the device, which must give the same words.
tell_a_story() {
    local words time n=60
    [[ $scale == dry ]] && n=4
    for time in once twice; do
        "$lfm/bin/lfm-run" -v --temp 0 -n "$n" --backend "$backend" --profile "$shipped" --vram-budget 800MiB \
            -p "Tell me a story about a fox." >"$TMPDIR/$time" || return
    done
    cat "$TMPDIR/once"
    [[ -s $TMPDIR/once ]] && cmp "$TMPDIR/once" "$TMPDIR/twice"
}
refuse_a_budget() {
    "$lfm/bin/lfm-bench" --shape lfm2.5-1.2b:Q8_0 --backend "$backend" --profile "$shipped" --vram-budget 1MiB
    local code=$?
    ((code == 3)) || { echo "expected exit code 3, found $code"; return 1; }
}
