#!/bin/sh
# Instructions per request of the whole simulator, as cachegrind counts them.
#
# Two runs of benches/azure-64.yaml of different length; their difference over the requests between them, so that start-up and
# the search for the capacity cancel out. The count is the same on every run of the same binary; it is compared with the one in
# benches/instructions.txt, and more than 3 % above it fails. `--bless` writes the new count instead.
#
#   cargo build --release && benches/instructions.sh
set -eu
cd "$(dirname "$0")/.."
binary=target/release/thawline
expected=benches/instructions.txt
few=40000
many=120000
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

count() {
    valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file="$scratch/counts" \
        "$binary" simulate benches/azure-64.yaml --jobs 1 --out "$scratch/out" \
        --set "workload.requests=$1" >"$scratch/stdout" 2>"$scratch/stderr" || {
        cat "$scratch/stderr" >&2
        exit 2
    }
    awk '/^summary:/ { print $2 }' "$scratch/counts"
}

of_few=$(count "$few")
of_many=$(count "$many")
found=$(((of_many - of_few) / (many - few)))
if [ "${1-}" = --bless ]; then
    echo "$found" >"$expected"
    echo "$found instructions a request, written to $expected"
    exit 0
fi
before=$(cat "$expected")
echo "$found instructions a request, $before before"
if [ $((found * 100)) -gt $((before * 103)) ]; then
    echo "more than 3 % above benches/instructions.txt; if it must be, run $0 --bless" >&2
    exit 1
fi
