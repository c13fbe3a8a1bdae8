#!/usr/bin/env bash
# Compares the policies on four real traces and three start-ups, each against perfect foresight, and writes docs/policies.csv: one row a
# trace, start-up and policy. `cargo run --release --example policies` makes the table and the picture of docs/policies.md of it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --bin thawline
out=target/policies
rm -rf "$out"
mkdir -p "$out"
traces=../../scenarios/traces
declare -A workloads=(
  [azure-chat]="{ azure: { file: $traces/azure_llm_2023_conv.csv } }"
  [azure-code]="{ azure: { file: $traces/azure_llm_2023_code.csv } }"
  [worldcup]="{ prometheus: { requestRate: $traces/worldcup98_1998-06-26.json, promptTokens: { constant: 512 }, outputTokens: { constant: 128 } } }"
  [servegen]="{ prometheus: { requestRate: $traces/servegen_m_small_week2.json, promptTokens: { constant: 512 }, outputTokens: { constant: 128 } }, window: { from: 48h, to: 72h }, rateScale: { superpose: 12 } }"
)
# Long traces get fewer plans: each is a run of the whole trace.
declare -A plans=([azure-chat]=150 [azure-code]=150 [worldcup]=60 [servegen]=40)
for trace in azure-chat azure-code worldcup servegen; do
  for start in seconds minute minutes; do
    echo "$trace, $start" >&2
    target/release/thawline simulate benches/policies/scenario.yaml --out "$out/$trace-$start" --exit-zero \
      --set "profile=$start.yaml" --set "workload=${workloads[$trace]}" --set "foresight.plans=${plans[$trace]}" "$@" > "$out/$trace-$start.txt" 2> /dev/null
  done
done
