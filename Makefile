# Two commands do all the set-up on a machine with only Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# One thread a process: tests and trials run side by side.
export OMP_NUM_THREADS ?= 1
# Each of a cluster's processes would compile the package again, and each process of pytest rewrite all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fast slow pure on_ray lint systems install clean

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hybrid_ray needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

install: $(BIN)/.installed

demo: install
	$(BIN)/python -m hybrid_ray.demo

# Both tiers in one go collect once, and share what a file's tests share. Types are checked beside the tests: that takes one core.
test: install
	$(MAKE) --jobs=2 lint pure
	$(MAKE) on_ray

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The slow tier: kills, other clusters, the README's longer blocks.
fast: TIER = -m "not slow"
slow: TIER = -m slow
slow: COVERAGE =
fast slow: pure on_ray

# What needs no cluster runs a process a core; what needs one runs in two processes, each with a cluster of its own.
TIER =
COVERAGE = --cov --cov-report=term:skip-covered --cov-fail-under=90
pure: install
	$(BIN)/python -m pytest $(TIER) -n auto --dist worksteal tests/unit tests/contract $(COVERAGE)

on_ray: install
	$(BIN)/python -m pytest $(TIER) -n 2 --dist loadgroup tests/on_ray tests/e2e

# Every system of specs/ on its data (hours): figures go to benchmarks/systems.json, from which docs/systems.md is written.
systems: install
	$(BIN)/python benchmarks/systems.py run
	$(BIN)/python benchmarks/systems.py docs

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
