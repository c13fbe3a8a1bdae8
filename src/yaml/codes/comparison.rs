//! Results that fail, and faults of comparisons, E09xx.

use super::{Code, code};

/// All of them, in order.
pub(super) const FAULTS: &[Code] = &[
    code(
        "E0901",
        "a gate failed",
        "A gate of the scenario does not hold under a policy it binds; the exit code is 1. `--code-quality`, `--junit` and the lines \
         for GitHub name each of them at its line in the scenario. A gate whose interval lies on both sides of its limit counts \
         as failed: more replications settle it, `--lenient` lets it pass.",
    ),
    code(
        "E0902",
        "regression",
        "Against the baseline, a metric became worse by more than its margins, and chance does not explain it: the test is of \
         \"worse by more than the margin\", corrected for everything that is judged (Holm), at the level of `--level`. The exit code \
         is 1. The message says what the two resolved scenarios differ in. If the change is meant, renew the baseline with \
         `--write-baseline`. `docs/ci.md` explains the arithmetic.",
    ),
    code(
        "E0903",
        "drift",
        "`--fail-on drift` asks that nothing differs from the baseline at all: the facts of each run and its metrics, to the last \
         bit. The same seed gives the same bytes, so a drift is a change of the program, the scenario, its profile or its trace. If \
         it is meant, renew the baseline with `--write-baseline`.",
    ),
    code(
        "E0904",
        "--fail-on or --metrics that cannot be read",
        "`--fail-on METRIC`, `--fail-on METRIC:MARGIN,MARGIN` or `--fail-on drift`. A margin is relative to the base (`5%`) or an \
         amount in the metric's unit: `100ms`, `$2`, `0.5pp` (percentage points, for shares), `3`. With several, each must be \
         exceeded. Without a margin it is 1 % and a trifle (1 ms, 0.1 pp, $0.01). `thawline explain metrics` lists the metrics.",
    ),
    code(
        "E0905",
        "nothing to compare",
        "A comparison needs two sides: an outcome.json or a baseline of each, or two policies of one file (`--base-policy hpa --policy \
         keda`). Policies are matched by their names, and at least one must be in both.",
    ),
];
