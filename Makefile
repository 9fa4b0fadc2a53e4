# Everything a new machine with Debian and Rust needs: `make demo` shows the hub at work, `make test` runs the tests.
SHELL := /bin/bash
.PHONY: demo test lint bench build setup setup-tests

# Arguments of the demo: --once, --people N, --data FOLDER.
ARGS ?=

demo: setup
	cargo run --release --quiet --package shuniu -- demo $(ARGS)

test: setup-tests
	tests/run

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
