# Targets: demo, check, test, bench, fuzz, format. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
CORE := src/chaperon/_core.abi3.so
RUST := $(shell find rust -name '*.rs' -not -path '*/target/*' -not -path '*/fuzz/*') $(wildcard rust/*/Cargo.toml rust/Cargo.toml)

.PHONY: env demo check test bench fuzz format clean

env: .build/env $(CORE)

.build/env: requirements/bootstrap.txt requirements/dev.txt
	@mkdir -p .build
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip install -q --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

$(CORE): .build/env $(RUST) rust/pins.lock
	@command -v cargo >/dev/null || { echo "A Rust toolchain (cargo) is needed: see README.md"; exit 1; }
	$(BIN)/python tools/cargo_pins.py restore
	CARGO_FLAGS=--locked sh rust/build.sh
	$(BIN)/python tools/install_dev.py
	@touch $@

demo: env
	$(BIN)/python examples/demo/run.py $(if $(ONCE),--once)

check: env
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cargo fmt --manifest-path rust/Cargo.toml --all --check
	$(BIN)/pytest tests -m "not slow and not server"

test: check
	$(BIN)/python tools/ci_install.py
	cargo clippy --manifest-path rust/Cargo.toml --all-targets --locked -- -D warnings
	cargo test -q --manifest-path rust/Cargo.toml --locked
	$(BIN)/pytest tests -m "slow or server"
	$(MAKE) demo ONCE=1

bench: env
	$(BIN)/python tools/ci_install.py
	PYTHONPATH=src:. $(BIN)/python -m benchmarks.run $(BENCH)

# BUDGET is in seconds: half for the compiled core's targets, half for whole sessions.
fuzz: env
	sh rust/fuzz/run.sh $$(( $(or $(BUDGET),600) / 2 ))
	PYTHONPATH=src:. $(BIN)/python tests/fuzz/fuzz_session.py --seconds $$(( $(or $(BUDGET),600) / 2 ))

format: env
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix .
	cargo fmt --manifest-path rust/Cargo.toml --all

clean:
	rm -rf .venv .build rust/target $(CORE)
