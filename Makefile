# `make demo` and `make test` need Python 3.11 or newer and make; all else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# PyTorch's default Linux build brings CUDA. For the CPU build: make demo PIP_ARGS="--index-url <PyTorch's CPU index> ..."
PIP_ARGS ?=

.PHONY: demo test check bench lint clean

demo: $(VENV)/.runs
	$(BIN)/edgebed run demo $(ARGS)

# Three at a time, for they wait more than they compute, those that take longest first (pytest's testpaths); but those
# that measure times one by one: others would make them wait for a core.
test: $(VENV)/.develops
	$(BIN)/python -m pytest --numprocesses 3 --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -m alone

# What CI runs.
check: lint test

lint: $(VENV)/.develops
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.runs
	$(BIN)/python -m tests.benchmarks.fidelity
	$(BIN)/python -m tests.benchmarks.links
	$(BIN)/python -m tests.benchmarks.speed
	$(BIN)/python -m tests.benchmarks.control
	$(BIN)/python -m tests.benchmarks.report
	$(BIN)/python -m tests.benchmarks.prediction
	$(BIN)/python -m tests.benchmarks.server_step

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgebed needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(PIP_ARGS) --editable .
	touch $@

$(VENV)/.develops: $(VENV)/.runs
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(PIP_ARGS) --editable '.[dev]'
	touch $@
