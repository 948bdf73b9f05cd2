# The same commands for a person and for CI. Each sets up what it needs in .venv and does nothing twice.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUST   := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)

.PHONY: demo test check lint test-rust test-python test-peers test-gpu bench calibrate clean

demo: $(VENV)/.train          ## train a one-layer and a two-layer model, analyse both, write report.html
	$(BIN)/phaseflow demo --out runs/demo --report report.html

test: test-rust test-python   ## every test, as CI runs them

check: lint test              ## formatting, lints, types, then the tests

test-rust:
	cargo test --workspace --quiet

test-python: $(VENV)/.test
	$(BIN)/python -m pytest

test-peers: $(VENV)/.test     ## the tests beside TransformerLens, which brings half a gigabyte
	$(PIP) --editable '.[peers]'
	$(BIN)/python -m pytest tests/python/test_attention_lens.py tests/python/test_circuit_outside.py

test-gpu: $(VENV)/.test       ## the tests that need a CUDA device, which `make test` runs too where there is one
	$(BIN)/python -m pytest -m gpu -rs

lint: $(VENV)/.check
	cargo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest phaseflow._core

bench: $(VENV)/.bench         ## kernels beside their best peers; records under benches/record/
	for bench in attention scan circuit loss loss_files token_changes changepoint interrupts superposition toy_models archive capture training; do $(BIN)/python benches/$$bench.py || exit 1; done

calibrate: $(VENV)/.bench     ## how often what is found is not there: simulations of hours
	for study in window_calibration second_windows non_convexity penalty_calibration interval_coverage online_detection grokking_onset; do $(BIN)/python benches/$$study.py || exit 1; done

clean:
	rm -rf $(VENV) target python/phaseflow/*.so

# The package itself, editable, compiled with optimisation.
$(VENV)/.package: pyproject.toml $(RUST)
	@command -v cargo >/dev/null || { echo "phaseflow is compiled from Rust: install it from https://rustup.rs, then run this again"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "phaseflow needs Python 3.11 or newer; name one with make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Compiling phaseflow (about a minute the first time)"
	$(PIP) --editable .
	@touch $@

# One stamp for each extra: .train, .test, ...
$(VENV)/.train: $(VENV)/.package
	@echo "Installing torch and tokenizers (a few minutes the first time)"
	$(PIP) --editable '.[train]'
	@touch $@

$(VENV)/.test: $(VENV)/.train
	$(PIP) --editable '.[train,test]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(PIP) --editable '.[train,test,check]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(PIP) --editable '.[train,test,bench]'
	@touch $@
