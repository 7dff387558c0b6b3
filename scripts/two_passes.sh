#!/usr/bin/env bash
# two_passes.sh MARKS WORKERS COMMAND...: runs COMMAND, which is pytest, for the tests that MARKS chooses, in two passes.
#
# First all that are not marked `alone`, by so many workers side by side: most of their time is waiting. Then those that
# are, one after the other, with the machine for themselves. The last line tells of both. It fails where a pass fails,
# and where both together find no test.
set -uo pipefail
marks=$1 workers=$2
shift 2

readonly NO_TESTS=5 # pytest's exit code where it finds none, or all are deselected
[[ ! -t 1 ]] || set -- "$@" --color=yes
output=$(mktemp)
trap 'rm -f "$output"' EXIT
told=() found=no result=0

# run_pass NAME ARGUMENT...: one of the two; adds its closing line to what is told at the end.
run_pass() {
    local name=$1 status closing
    shift
    printf '== tests %s\n' "$name"
    "$@" | tee "$output"
    status=${PIPESTATUS[0]}
    closing=$(tail -n 1 "$output" | sed -E 's/\x1b\[[0-9;]*m//g; s/^=+ //; s/ =+$//')
    case $status in
        0) found=yes ;;
        1) found=yes result=1 ;;
        "$NO_TESTS") closing="no tests" ;;
        *) exit "$status" ;; # interrupted, or not even begun
    esac
    told+=("$name: $closing")
}

run_pass "side by side" "$@" -m "($marks) and not alone" --numprocesses="$workers" --dist=worksteal
run_pass "alone" "$@" -m "($marks) and alone"

[[ $found == yes ]] || result=$NO_TESTS
verdict=passed
((result == 0)) || verdict=FAILED
printf '== %s. %s; %s\n' "$verdict" "${told[@]}"
exit "$result"
