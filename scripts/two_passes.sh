#!/usr/bin/env bash
# two_passes.sh MARKS WORKERS COMMAND...: runs COMMAND, which is pytest, for the tests that MARKS chooses, in two passes.
#
# First all that are not marked `alone`, by so many workers side by side (0: one after the other): most of their time is
# waiting. Then those that are, one after the other, with the machine for themselves. Where no more than a few failed in
# a pass, these run once more by themselves: a busy machine can be later than a test allows. Their first failure stays
# in the output, and the last line counts them, so that nobody takes them for sound. The last line tells of all passes.
# It fails where a pass fails, and where all together find no test.
set -uo pipefail
marks=$1 workers=$2
shift 2

readonly NO_TESTS=5 # pytest's exit code where it finds none, or all are deselected
readonly FEW=3      # more failures than these have a cause of their own
[[ ! -t 1 ]] || set -- "$@" --color=yes
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
told=() found=no result=0

# run_pytest COMMAND...: runs it; leaves its exit code in `status`, and its closing line in `closing`.
run_pytest() {
    "$@" -o cache_dir="$scratch/cache" | tee "$scratch/output"
    status=${PIPESTATUS[0]}
    closing=$(tail -n 1 "$scratch/output" | sed -E 's/\x1b\[[0-9;]*m//g; s/^=+ //; s/ =+$//')
}

# failures: how many tests failed, or broke, as the closing line counts them.
failures() { grep -oE '[0-9]+ (failed|error)' <<<"$closing" | awk '{ sum += $1 } END { print sum + 0 }'; }

# run_pass NAME CHOICE ARGUMENT...: one of the two; adds its closing line to what is told at the end.
run_pass() {
    local name=$1 choice=$2
    shift 2
    printf '== tests %s\n' "$name"
    run_pytest "$@" -m "$choice" "${side_by_side[@]}"
    case $status in
        0) found=yes ;;
        1) found=yes && run_again "$choice" "$@" ;;
        "$NO_TESTS") closing="no tests" ;;
        *) exit "$status" ;; # interrupted, or not even begun
    esac
    told+=("$name: $closing")
}

# run_again CHOICE ARGUMENT...: what just failed, if that is little, once more; all of it must pass now.
run_again() {
    local choice=$1 first=$closing count
    shift
    count=$(failures)
    if ((count > 0 && count <= FEW)); then
        printf '== tests that failed, once more\n'
        run_pytest "$@" -m "$choice" --last-failed --last-failed-no-failures=none
    fi
    if ((status == 0)); then
        closing="$first, of which $count PASSED ONLY THE SECOND TIME"
    else
        closing=$first result=1
    fi
}

side_by_side=(--numprocesses="$workers" --dist=worksteal)
run_pass "side by side" "($marks) and not alone" "$@"
side_by_side=()
run_pass "alone" "($marks) and alone" "$@"

[[ $found == yes ]] || result=$NO_TESTS
verdict=passed
((result == 0)) || verdict=FAILED
printf '== %s. %s; %s\n' "$verdict" "${told[@]}"
exit "$result"
