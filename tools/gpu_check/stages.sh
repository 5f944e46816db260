# Stages: each has a limit of its own, is killed with its children, and never keeps the next one from starting.
# Part of gpu_check.sh.

most_of_log=15000000  # bytes of one file of the output folder
most_of_stage=300000  # bytes of a stage's log there, and as many again of its end
most_at_once=2        # stages that use the card

exec {never}<> <(:)
pause() { read -rt "$1" -u "$never" || true; }  # sleeps without a process

# quickly SECONDS COMMAND...: prints what the command says, and kills it after so many seconds. A process that hangs in
# a driver may survive even that; then it is left behind.
quickly() {
    local most=$(($1 * 10)) said i pid
    shift
    said=$(mktemp "$work/tmp/said-XXXXXX")
    "$@" >"$said" 2>&1 </dev/null &
    pid=$!
    for ((i = 0; i < most; ++i)); do kill -0 "$pid" 2>/dev/null || break; pause 0.1; done
    if kill -0 "$pid" && kill -KILL "$pid" $(processes_below "$pid"); then
        echo "$1: said nothing more within $((most / 10)) s"
        disown "$pid"
    fi 2>/dev/null
    cat "$said"
}

# Whatever happens, the run ends.
watch_over() {
    (pause $((limit + 15)); kill -TERM $$ 2>/dev/null) &
    watcher=$!
    disown "$watcher"
}

ends=$limit  # the second at which what runs now must end: tests leave time to measure
left() { echo $((ends - SECONDS)); }
at_most() { local most; most=$(left); echo $((most > $1 ? $1 : most > 1 ? most : 1)); }

warn() {
    say "$*"
    echo "$*" >>"$work/warnings"
}

# stage NAME SECONDS LOG COMMAND...: runs it alone on the card. The command may be a function. What it says goes to
# LOG.log of the output folder as it comes. How it ended is in $work/stages: code, seconds, limit, passed and
# skipped tests.
stage() {
    wait_for_others 1
    next_stage "$@"
    run_stage "$number" "$@"
    read -r ended _ <"$work/stages/$number-$1"
    [[ $ended == 0 ]] && ended=ok
    ((SECONDS - reported < 5)) || write_report
}

# The same, beside at most one other stage.
stage_beside() {
    wait_for_others "$most_at_once"
    next_stage "$@"
    run_stage "$number" "$@" &
}

number=0 reported=0
next_stage() { printf -v number '%03d' $((10#$number + 1)); }
wait_for_others() {
    while (($(jobs -rp | wc -l) >= $1)); do wait -n; done
}

run_stage() {
    local end=$work/stages/$1-$2 name=$2 most own=$work/logs/$2.log to=$out/$4.log begin=$SECONDS code="" copied=0 turns=0 pid
    most=$(at_most $(($3 * factor)))
    shift 4
    : >"$own"
    if ((most < 3)); then
        echo "left 0 $most" >"$end"
        return
    fi
    # For the test of this script.
    [[ $name == "${LFM_GPU_CHECK_FAIL-}" ]] && set -- bash -c 'echo "made to fail"; exit 9'
    [[ $name == "${LFM_GPU_CHECK_HANG-}" ]] && set -- bash -c 'trap "" TERM; echo "made to hang"; sleep 98765 & sleep 98765'
    echo "running 0 $most" >"$end"
    set -m  # a process group of its own
    (run_first_to_go "$@") >"$own" 2>&1 </dev/null &
    pid=$!
    set +m
    echo "$pid" >"$work/groups/$pid"
    while kill -0 "$pid" 2>/dev/null; do
        pause 0.1
        ((++turns % 10)) || copy_log lines
        ((SECONDS - begin < most)) || { code=time; break; }
    done
    if [[ -z $code ]]; then
        wait "$pid" 2>/dev/null
        code=$?
        kill -KILL -- "-$pid" 2>/dev/null  # what it left behind
    else
        kill_stage "$pid"
    fi
    rm -f "$work/groups/$pid"
    copy_log all
    copy_end
    echo "$code $((SECONDS - begin)) $most $(test_counts "$own")" >"$end"
}

# How many tests passed and were skipped, by a log of GoogleTest; nothing for other logs.
test_counts() {
    awk '/^\[==========\]/ {tests = 1} /^\[       OK \]/ {++passed} /^\[  SKIPPED \] .*\(/ {++skipped}
        END {if (tests) print passed + 0, skipped + 0}' "$1"
}

# When memory runs out, the system kills the stage and not this script.
run_first_to_go() {
    echo 800 >"/proc/$BASHPID/oom_score_adj" 2>/dev/null
    "$@"
}

kill_stage() {
    local below i
    below=$(processes_below "$1")
    kill -TERM -- "-$1" 2>/dev/null
    for ((i = 0; i < 10; ++i)); do kill -0 "$1" 2>/dev/null || break; pause 0.2; done
    kill -KILL -- "-$1" $below 2>/dev/null
    for ((i = 0; i < 15; ++i)); do kill -0 "$1" 2>/dev/null || break; pause 0.2; done
    if kill -0 "$1" 2>/dev/null; then
        disown "$1" 2>/dev/null
        echo "does not end, though killed" >>"$own"
    else
        wait "$1" 2>/dev/null
    fi
}

# The processes that a process started, and all that those started, in any process group.
processes_below() {
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v root="$1" '
        {pid = $1; sub(/^.*\) /, ""); split($0, field, " "); parent[pid] = field[2]}
        END {
            below[root] = 1
            do {
                more = 0
                for (pid in parent) if (!(pid in below) && parent[pid] in below) {below[pid] = 1; more = 1; print pid}
            } while (more)
        }'
}

size_of() { stat -c %s "$1" 2>/dev/null || echo 0; }

# copy_log lines|all: appends what the stage has written since the last call, some whole lines of it or all, until
# $most_of_stage bytes are copied.
copy_log() {
    local LC_ALL=C size piece most=$((most_of_stage - copied))
    size=$(size_of "$own")
    ((size > copied && most > 0)) || return
    [[ $1 == lines ]] && ((most > 20000)) && most=20000
    piece=$(tail -c +$((copied + 1)) "$own" | head -c "$most" | tr '\000' '?'; echo .)
    piece=${piece%.}
    [[ $1 == lines ]] && piece=${piece%"${piece##*$'\n'}"}
    ((copied += ${#piece}))
    append_log "$piece"
}
copy_end() {
    local size piece
    size=$(size_of "$own")
    ((size > copied)) || return
    piece=$(tail -c +$((copied + 1)) "$own" | tail -c "$most_of_stage" | tr '\000' '?')
    append_log "… $((size - copied)) bytes more, which end so:"$'\n'"$piece"
}
append_log() {
    [[ -n $1 ]] || return
    if (($(size_of "$to") + ${#1} < most_of_log)); then printf '==== %s, %s s\n%s\n' "$name" "$SECONDS" "${1%$'\n'}" >>"$to"; fi
}

# Ended from outside: what is known by then is reported.
end_early() {
    local file
    for file in "$work"/groups/*; do [[ -f $file ]] && kill -KILL -- "-$(basename "$file")" 2>/dev/null; done
    warn "ended from outside after $SECONDS s"
    write_report
    exit 143
}

# How a stage ended, for tables, into: stage, its name; result, as "ok" or "**failed** (9)"; seconds, passed, skipped.
result_of() {
    local code most
    stage=${1##*/}
    stage=${stage#*-}
    read -r code seconds most passed skipped <"$1"
    case $code in
        0) result=ok ;;
        time) result="**out of time** ($most s)" ;;
        left) result="**left out: no time**" ;;
        running) result=running ;;
        *) result="**failed** ($code)" ;;
    esac
    # A tool that was only tried: a warning says more.
    if [[ $stage == *-tried && $result != ok && $result != running ]]; then result=refused; fi
    # A suite that only skips has shown nothing.
    if [[ $result == ok && $passed == 0 && $skipped != 0 ]]; then result="**all skipped**"; fi
}
