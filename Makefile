# Everything a contributor runs. `make` alone lists the targets.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
INSTALLED := $(VENV)/installed
BENCH_VENV := .venv-bench
BENCH := $(BENCH_VENV)/bin/python -m benchmarks.run
BENCH_INSTALLED := $(BENCH_VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-all fuzz lint format types docs objects bench bench-quick bench-publish clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## trace, differentiate, optimise, prove and run an example
	$(BIN)/python examples/demo.py

test: lint ## lint, and every law on its samples (minutes)
	$(PYTEST) -n $(JOBS) -m "not slow"

test-all: lint ## lint, and every test, the slow ones too
	$(PYTEST) -n $(JOBS)

fuzz: $(INSTALLED) ## the hypothesis tests again, with new random inputs and many more of them
	GRAPHC_FUZZ=1 $(PYTEST) -n $(JOBS) -m hypothesis

lint: $(INSTALLED) ## check style and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## let ruff mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED) ## check types with mypy --strict, on the installed layout
	$(PYTEST) tests/test_types.py

docs: $(INSTALLED) ## write docs/numpy-support.md again, from the tables in the code
	$(BIN)/python docs/numpy_support.py

objects: $(INSTALLED) ## compile again what comes compiled, after a change to it
	$(BIN)/python -m graphc.backends.numpy.llvm.prebuilt

bench: $(BENCH_INSTALLED) ## measure beside jax, PyTorch, PyTensor and others; writes to out/ (most of an hour)
	$(BENCH)
	$(BENCH_VENV)/bin/python benchmarks/compile_time.py

bench-quick: $(BENCH_INSTALLED) ## the same with small sizes and few rounds, to see that all works (minutes)
	$(BENCH) --quick
	$(BENCH_VENV)/bin/python benchmarks/compile_time.py --quick

bench-publish: $(BENCH_INSTALLED) ## the same, and renew docs/benchmarks.md
	$(BENCH) --publish

clean: ## remove everything that make made, the virtual environment too
	rm -rf $(VENV) $(BENCH_VENV) out build dist *.egg-info .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f backends/numpy/llvm/*.objects

# One editable install with every development extra; it is renewed when pyproject.toml or setup.py changes.
$(INSTALLED): pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@

# The peers of the benchmarks have demands of their own on NumPy, and PyTorch is large: another environment.
$(BENCH_INSTALLED): pyproject.toml setup.py
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -e ".[bench]"
	@touch $@
