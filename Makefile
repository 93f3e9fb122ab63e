# `make demo` and `make test` need a Rust toolchain; the rest they install themselves (Debian), see deploy/setup.sh.
CARGO ?= cargo

.PHONY: help setup demo test bench lint build

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

setup: ## Install what is missing: compiler, Postgres programs, Redis, curl
	@./deploy/setup.sh

demo: setup ## Two instances, an action between them, an outage, and its repair (ONCE=1: exit at the end)
	@$(CARGO) build --release --locked --package dpg-api --bin dpg
	@exec $(CARGO) run --quiet --release --locked --package dpg-api --bin dpg -- demo

test: setup ## All tests, on servers of their own
	@./deploy/test.sh

bench: setup ## Rates and latencies, each beside a floor taken in the same run (GROUP=mirror: those alone)
	@$(CARGO) build --release --locked --package dpg-api --bin dpg --package dpg-tests --bin bench
	@exec ./target/release/bench $(GROUP)

lint: ## Formatting, lints, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) deny --locked check bans licenses sources

build: setup ## The release binary, target/release/dpg
	$(CARGO) build --release --locked --package dpg-api --bin dpg
