#!/bin/sh
# The share of a run's instructions that goes into observing (scrapes) and deciding, as callgrind counts them, callees
# included, at 64 replicas and scrapes of 1 s, with a histogram of 23 buckets a replica. It must be under 5 %.
#
#   cargo build --release && benches/observe.sh
set -eu
cd "$(dirname "$0")/.."
limit_permille=50
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

valgrind --tool=callgrind --callgrind-out-file="$scratch/profile" \
    target/release/thawline simulate benches/observe-64.yaml --jobs 1 --out "$scratch/out" \
    --set "workload.requests=${1-60000}" >"$scratch/stdout" 2>"$scratch/stderr" || {
    cat "$scratch/stderr" >&2
    exit 2
}
callgrind_annotate --inclusive=yes --threshold=100 "$scratch/profile" >"$scratch/lines" 2>"$scratch/warnings"
awk -v limit="$limit_permille" '
    { gsub(/,/, "", $1) }
    /PROGRAM TOTALS/ { total = $1 }
    /Run.*::(scrape|read_usage|decide|timer_over) \[/ && !/Run.*::(scrape|read_usage|decide|timer_over).*Run/ {
        cost = $1; share += cost; found++
        sub(/^.*Run/, "Run"); sub(/ \[.*/, ""); printf "%14.0f %s\n", cost, $0
    }
    END {
        # Every run scrapes and decides: without these the names have changed, and nothing was measured.
        if (found < 2 || total == 0) { print "no such function in the profile: benches/observe.sh must be mended"; exit 2 }
        printf "observing and deciding: %.2f %% of %.0f instructions, at most %.1f %%\n", 100 * share / total, total, limit / 10
        exit !(share * 1000 <= total * limit)
    }' "$scratch/lines"
