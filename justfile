# The front door. `just` lists every recipe; CI runs only recipes.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Where the workspaces for wasm are built, beside the agent's.
export plugins := env("CARGO_TARGET_DIR", "target") / "plugins"
export guests := env("CARGO_TARGET_DIR", "target") / "guests"

# Property tests draw the same cases every time, as the simulator has its seeds: what fails then is due to an edit. See `properties`.
export PROPTEST_RNG_SEED := env("PROPTEST_RNG_SEED", "1")

# List every recipe.
default:
    @just --list --unsorted

# Start a development agent from the tree: a server in memory, on Consul's usual ports.
dev *ARGS:
    cargo run --release -- agent -dev {{ARGS}}

# Everything CI checks, in the order that fails fastest.
ci: fmt lint deny test

# The code is formatted: the agent's, the plugins' with their SDK, the fuzz targets, what a plugin author begins with.
fmt:
    cargo fmt --all --check
    cargo fmt --all --check --manifest-path plugins/Cargo.toml
    cargo fmt --all --check --manifest-path tests/guests/Cargo.toml
    cargo fmt --all --check --manifest-path tests/fuzz/Cargo.toml
    rustfmt --check --edition 2024 sdk/templates/rust/src/lib.rs

# The code has no warnings, also without a compiler for plugins.
lint:
    cargo clippy --workspace --all-targets --quiet -- -D warnings
    cargo clippy -p agent-wasm -p agent-daemon --no-default-features --quiet -- -D warnings
    cargo clippy --manifest-path plugins/Cargo.toml --target-dir "$plugins" --workspace --all-targets --quiet -- -D warnings
    cargo clippy --manifest-path plugins/Cargo.toml --target-dir "$plugins" -p lictor-plugin --all-targets --quiet -- -D warnings
    cargo clippy --manifest-path tests/guests/Cargo.toml --target-dir "$guests" --target wasm32-wasip2 --quiet -- -D warnings

# Licences and banned crates of the agent and of the plugins (no network needed beyond the registry).
deny:
    cargo deny --all-features check --hide-inclusion-graph bans licenses sources
    cargo deny --manifest-path plugins/Cargo.toml --target wasm32-wasip2 --all-features check \
        --hide-inclusion-graph --allow license-not-encountered bans licenses sources

# Build the binaries and run every test: rules, storage, simulator, real processes and clients.
test *ARGS: plugins
    cargo build --workspace --all-targets --quiet
    cargo nextest run --workspace {{ARGS}}

# Build the plugins into <target>/plugins and test what of them and of their SDK needs no component.
plugins:
    cargo build --release --quiet --manifest-path plugins/Cargo.toml --target wasm32-wasip2 --target-dir "$plugins"
    cargo test --quiet --manifest-path plugins/Cargo.toml --target-dir "$plugins" --workspace
    cargo test --quiet --manifest-path plugins/Cargo.toml --target-dir "$plugins" -p lictor-plugin

# The rules alone: an edit in agent-core is compiled and tested in seconds.
core *ARGS:
    cargo nextest run -p agent-core {{ARGS}}

# All tests but the simulator's and those of real processes, their properties with CASES others each, drawn by SEED; both repeat a failure.
properties CASES="40000" SEED=`od -An -N4 -tu4 /dev/urandom | tr -d ' '`:
    @echo "just properties {{CASES}} {{SEED}}"
    PROPTEST_CASES={{CASES}} PROPTEST_RNG_SEED={{SEED}} cargo nextest run --workspace -E 'not (package(sim) or package(real))'

# The simulator alone; SEED=n runs one seed.
sim *ARGS:
    cargo nextest run --workspace -E 'package(sim)' {{ARGS}}

# Pools of MEMBERS that only gossip, with figures; five thousand take minutes and 8 GB.
gossip MEMBERS="1000":
    GOSSIP_MEMBERS={{MEMBERS}} cargo test --release -p sim --test gossip -- --nocapture --test-threads 1

# Simulated clusters: COUNT seeds from FIRST on, shared by the cores.
clusters COUNT="1000" FIRST="0":
    cargo build -p sim --tests --quiet
    seq {{FIRST}} 25 $(({{FIRST}} + {{COUNT}} - 1)) | xargs -P "$(nproc)" -I{} \
        env SEED={} SEEDS=25 cargo test -p sim --quiet --test cluster one_cluster -- --nocapture

# Simulated worlds of whole agents: COUNT seeds from FIRST on, shared by the cores. As many as the night allows.
worlds COUNT="1000" FIRST="0":
    cargo build -p sim --tests --quiet
    seq {{FIRST}} 25 $(({{FIRST}} + {{COUNT}} - 1)) | xargs -P "$(nproc)" -I{} \
        env SEED={} SEEDS=25 cargo test -p sim --quiet --test agents one_world -- --nocapture

# The simulated clusters of the test suite with every assertion of openraft, and without any: both must hold.
sim-asserts:
    cargo nextest run -p sim --test cluster --config 'profile.dev.package.validit.debug-assertions=true'
    cargo nextest run -p sim --test cluster --config 'profile.dev.package.openraft.debug-assertions=false'

# Real processes and third-party clients alone.
real *ARGS:
    cargo build --workspace --all-targets --quiet
    cargo nextest run --workspace -E 'package(real)' {{ARGS}}

# A cluster of real processes under load for MINUTES, with a fault every twenty seconds chosen by SEED. As root.
faults MINUTES="30" SEED="1" CLIENTS="2":
    cargo build --release --quiet
    cargo build --release --quiet -p real --bin faults
    "${CARGO_TARGET_DIR:-target}/release/faults" {{MINUTES}} {{SEED}} {{CLIENTS}}

# Fuzz every parser for SECONDS each.
fuzz SECONDS="60":
    tests/fuzz/run {{SECONDS}}

# The release binary, with its size.
release:
    cargo build --release
    @ls -l "${CARGO_TARGET_DIR:-target}/release/lictor"

# Measure beside the real Consul: all parts, or those named (see tests/bench/README.md).
bench *ARGS:
    cargo build --release --quiet
    cargo build --release --quiet -p bench
    CONSUL="${CONSUL:-$(tests/real/get-consul --etcd)}" "${CARGO_TARGET_DIR:-target}/release/bench" {{ARGS}}

# Everything of a release for x86_64 and aarch64 into dist/, built and checked (see cross/README.md). As root.
cross *ARCHITECTURES:
    cross/build {{ARCHITECTURES}}

# Build the commit again in another folder and compare with dist/, byte for byte. As root.
reproduce *ARCHITECTURES:
    cross/reproduce {{ARCHITECTURES}}
