# Two commands do all the set-up on a machine with only Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# One thread a process: tests and trials run side by side.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test fast slow lint install clean

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hybrid_ray needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

install: $(BIN)/.installed

demo: install
	$(BIN)/python -m hybrid_ray.demo

test: install lint fast slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What needs no cluster runs a process a core; what needs one runs in two processes, each with a cluster of its own.
ON_RAY := -n 2 --dist
fast: install
	$(BIN)/python -m pytest -m "not slow" -n auto tests/unit tests/contract --cov --cov-report=term:skip-covered --cov-fail-under=90
	$(BIN)/python -m pytest -m "not slow" $(ON_RAY) loadfile tests/on_ray tests/e2e

# Long tests: kills, other clusters, the README's longer blocks.
slow: install
	$(BIN)/python -m pytest -m slow $(ON_RAY) worksteal

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
