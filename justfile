# The recipes of the house. `just` alone lists them.

_list:
    @just --list

# Everything that a change has to pass.
check: format lint test docs deny validate

# Whether the code is formatted.
format:
    cargo fmt --check

# Clippy, with warnings denied.
lint:
    cargo clippy --locked --all-targets -- -D warnings

# All tests; installs the servers that they need where it can. Words select tests by name.
test *WORDS:
    scripts/test {{ WORDS }}

# The documentation of the code, with warnings denied.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Writes the reference pages of the kinds anew; a test tells when they are stale.
kinds:
    cargo run --locked --quiet -- kinds --markdown docs/kinds

# Writes the document of the API anew; a test tells when it is stale.
openapi:
    cargo run --locked --quiet -- schema openapi >docs/openapi.json.new
    mv docs/openapi.json.new docs/openapi.json

# Writes the JSON Schemas of the configuration files anew; a test tells when they are stale.
schema:
    cargo run --locked --quiet -- schema daemon >docs/schema/daemon.schema.json.new
    cargo run --locked --quiet -- schema checks >docs/schema/checks.schema.json.new
    mv docs/schema/daemon.schema.json.new docs/schema/daemon.schema.json
    mv docs/schema/checks.schema.json.new docs/schema/checks.schema.json

# Licences, sources and unwanted crates, where cargo-deny is installed.
deny:
    @if command -v cargo-deny >/dev/null; then \
        cargo deny --locked check bans licenses sources; \
    else \
        echo "cargo-deny is not installed, so dependencies were not checked"; \
    fi

# The example configuration, and every file in checks.d.
validate:
    scripts/validate-examples

# The packages, .deb and .rpm; words are options of scripts/package, such as --deb.
package *WORDS:
    scripts/package {{ WORDS }}

# The daemon with the example configuration.
run:
    cargo run --locked --release -- run --config daemon.toml.example

# What verdicts and the schedule cost, with the release build.
bench:
    cargo bench --locked --bench judge --bench schedule

# What history costs, on SQLite and PostgreSQL: writing, size, questions, and a start with RESULTS.
bench-history RESULTS="10_000_000":
    WATCHBELL_BENCH_RESULTS={{ RESULTS }} cargo bench --locked --bench history

# Watchbell beside what one would use in its place, on the same target in one go; see its --help.
bench-compare *WORDS:
    scripts/bench-compare {{ WORDS }}

# What checks cost: processor time per check, and memory, with the release build.
bench-load:
    scripts/bench-load
