# Short commands for the steps of `.ci/run`, and for benchmarks. `just` lists the recipes.

_default:
    @just --list --unsorted

# Formatting, lints and documents, as continuous integration checks them
check:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Every test, with real mounts and real engines; ARGS as `cargo test` takes them
test *ARGS:
    cargo test --release --locked {{ ARGS }}

# The library's and the program's own tests: no mounts, no network
test-quick *ARGS:
    cargo test --release --locked --lib --bin model-fs {{ ARGS }}

# The read path, a few minutes; `just bench-quick --against OTHER/target/release/model-fs` compares
bench-quick *ARGS:
    cargo bench --bench read_path -- --quick {{ ARGS }}

# The plots in docs/performance, from the reports beside them
plot *ARGS:
    cargo run --release --locked --package model-fs-test-support --example plot -- {{ ARGS }}

# The library's documentation, in a browser
docs:
    cargo doc --locked --no-deps --open

# What is published of a release, into FOLDER
dist FOLDER:
    packaging/dist {{ FOLDER }}

# All that must hold before a change is merged
ci:
    .ci/run
