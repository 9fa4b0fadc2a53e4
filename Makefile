# Everything a new machine with Debian and Rust needs: `make demo` shows the hub at work, `make test` runs the tests.
SHELL := /bin/bash
.PHONY: demo test test-clients lint bench build setup setup-tests setup-clients

# Arguments of the demo: --once, --people N, --data FOLDER.
ARGS ?=

demo: setup
	cargo run --release --quiet --package shuniu -- demo $(ARGS)

test: setup-tests
	tests/run

# The Kafka door with every client of docs/CLIENTS.md, over the engine and over Apache Kafka; `make test` has those that are quick to install.
test-clients: setup-clients
	cargo build --package shuniu
	cargo test --package shuniu-tests --test clients -- --include-ignored

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

bench: setup-tests
	tests/bench

build: setup
	cargo build --release --package shuniu

setup:
	@tests/setup build

setup-tests:
	@tests/setup tests

setup-clients:
	@tests/setup clients
