#!/usr/bin/env bash
# Runs some of the scenarios and holds each against its baseline in this folder: the same seed must give the same facts and
# metrics, to the last bit. `reports/check.sh --bless` writes the baselines anew.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release --quiet --bin thawline
thawline=${CARGO_TARGET_DIR:-target}/release/thawline
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

failed=()
for baseline in reports/*.json; do
  name=$(basename "$baseline" .json)
  # This is no step of a workflow of its own.
  run=(env -u GITHUB_STEP_SUMMARY -u GITHUB_ACTIONS "$thawline" simulate "scenarios/$name.yaml" --out "$out/$name")
  if [ "${1:-}" = --bless ]; then
    "${run[@]}" --exit-zero --write-baseline "$baseline" > /dev/null 2>&1
    echo "wrote $baseline"
    continue
  fi
  code=0
  "${run[@]}" --baseline "$baseline" --fail-on drift > "$out/log" 2>&1 || code=$?
  if [ "$code" = 0 ]; then
    echo "✓ $name"
  else
    echo "✗ $name (exit code $code)"
    if grep -q '^COMPARED WITH' "$out/log"; then sed -n '/^COMPARED WITH/,$p' "$out/log"; else cat "$out/log"; fi
    failed+=("$name")
  fi
done
if [ "${#failed[@]}" -gt 0 ]; then
  echo "drifted: ${failed[*]}; if that is meant: reports/check.sh --bless" >&2
  exit 1
fi
