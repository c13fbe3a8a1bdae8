# What there is to do here; `just` lists it.
default:
    @just --list

# Everything CI checks
check:
    .ci/run

# The quickstart
demo:
    cargo run --release -- simulate scenarios/quickstart.yaml

# Writes every expected output anew: look at the diff before you commit it
bless:
    THAWLINE_BLESS=1 INSTA_UPDATE=always cargo test
    reports/check.sh --bless
    just picture
    just sample

# Builds the documentation as a book, book/index.html (needs mdbook)
book:
    mdbook build docs

# How long the simulation takes
bench:
    cargo bench

# Writes docs/quickstart.svg from what the quickstart prints
picture:
    cargo build --release --bin thawline --example picture
    CLICOLOR_FORCE=1 target/release/thawline simulate scenarios/quickstart.yaml --exit-zero --out target/quickstart \
        | target/release/examples/picture > target/quickstart.svg
    mv target/quickstart.svg docs/quickstart.svg

# Writes the sample report and its picture anew; the picture needs Chromium's driver
sample:
    cargo run --release -- simulate scenarios/quickstart.yaml --exit-zero --out target/quickstart
    mkdir -p reports/sample && cp target/quickstart/report.html reports/sample/
    THAWLINE_REQUIRE_BROWSER=1 cargo test --test browser
    cp target/report-pictures/sample.png reports/sample/report.png

# Writes the table and the picture of docs/policies.md anew: some minutes
policies:
    benches/policies.sh
    cargo run --release --example policies
