# railclear: `make` alone prints this menu.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
STAMP  := $(VENV)/.railclear-setup

.DEFAULT_GOAL := menu
.PHONY: menu setup demo check test bench soak chaos clean lock

menu:  ## this menu
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' Makefile
	@echo '  ARGS="..." is handed to the command, e.g. make demo ARGS="--for 60s --json"'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "railclear needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Say PYTHON=python3.11 make ...")'
	@echo "Setting up $(VENV) (once, a minute or two) ..." >&2
	@$(PYTHON) -m venv $(VENV) || { echo "No venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $(STAMP)

setup: $(STAMP)  ## the virtual environment with the locked dependencies

demo: $(STAMP)  ## Kafka, PostgreSQL, workers and simulated trains, all on this machine
	@$(BIN)/railclear demo $(ARGS)

check: $(STAMP)  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.house

test: $(STAMP) check  ## everything that must pass before anything lands
	$(BIN)/python -m pytest $(ARGS)

bench: $(STAMP) .venv-bench/.setup  ## benchmarks against reference programs (docs/benchmarks.md)
	$(BIN)/python -m tests.bench $(ARGS)

.venv-bench/.setup: tests/bench/requirements-quix.lock
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --disable-pip-version-check -q --require-hashes -r tests/bench/requirements-quix.lock
	@touch $@

soak: $(STAMP)  ## hours: 10,000 simulated clusters, 300,000 histories against the oracle (goes on where it was; ARGS=--again)
	@failed=0; \
	$(BIN)/python -m tests.sim --soak 10000 --jobs 2 --report docs/reliability.json $(ARGS) || failed=1; \
	$(BIN)/python -m tests.sim.oracle 300000 --report docs/reliability.json $(filter --again,$(ARGS)) || failed=1; \
	exit $$failed

chaos: $(STAMP)  ## kill and freeze brokers, PostgreSQL and workers (docs/reliability.json; an hour)
	$(BIN)/python -m tests.chaos --report docs/reliability.json $(ARGS)

lock: $(STAMP)  ## resolve requirements.lock anew (needs uv)
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
