# Everything a new machine with Debian and Rust needs: `make demo` shows the hub at work, `make test` runs the tests.
SHELL := /bin/bash
.PHONY: demo cluster test test-clients test-faults lint bench bench-kafka build setup setup-tests setup-bench setup-clients

# Arguments of the demo: --once, --people N, --data FOLDER. Of the cluster: --once.
ARGS ?=
# How many faults.
FAULTS ?= 200

demo: setup
	cargo run --release --quiet --package shuniu -- demo $(ARGS)

# Two hubs on three brokers, PostgreSQL and an object store, in folders that are removed at the end.
cluster: setup-tests
	cargo build --quiet --package shuniu
	cargo run --quiet --package shuniu-tests --bin cluster -- $(ARGS)

test: setup-tests
	tests/run

# Hubs under faults: kill -9, held processes, cut networks, full disks. SEED=N repeats a run, KIND=TEXT takes the kinds with that text in their names.
test-faults: setup-tests
	cargo build --package shuniu
	FAULTS=$(FAULTS) cargo test --workspace --test kafka -- many_faults --ignored --nocapture

# The Kafka door with every client of docs/CLIENTS.md, over the engine and over Apache Kafka; `make test` has those that are quick to install.
test-clients: setup-clients
	cargo build --package shuniu
	cargo test --workspace --test clients -- --include-ignored

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

bench: setup-tests
	tests/bench

# The hub on Apache Kafka beside what one would use instead of it. Some twenty minutes.
bench-kafka: setup-bench
	tests/bench-kafka

build: setup
	cargo build --release --package shuniu

setup:
	@tests/setup build

setup-tests:
	@tests/setup tests

setup-bench:
	@tests/setup bench

setup-clients:
	@tests/setup clients
