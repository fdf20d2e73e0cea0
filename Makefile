# Each target sets up what it needs: a virtual environment with pinned packages, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without an NVIDIA GPU the CPU build of torch is enough, and gigabytes smaller.
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)
HAS_GPU := $(shell nvidia-smi -L 2>/dev/null | head -n 1)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DEMO_ROOT := runs/demo

.PHONY: help demo check test test-gpu campaign bench tiny clean

help: ## show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.train: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rlrun needs Python 3.11 or newer; give one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch and the rest into $(VENV): a few minutes, once"
ifeq ($(HAS_GPU),)
	$(INSTALL) "$(TORCH)+cpu" 2>/dev/null || \
	  { echo "the package index has no CPU build of torch; taking its default build"; $(INSTALL) "$(TORCH)"; }
endif
	$(INSTALL) -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(INSTALL) -e '.[train,dev]'
	@touch $@

demo: $(VENV)/.train ## train, stop, resume: the main job on a laptop, in a minute
	@rm -rf $(DEMO_ROOT)
	$(BIN)/rlrun train --config tiny --steps 20 --name demo --root $(DEMO_ROOT)
	$(BIN)/rlrun resume demo --steps 20 --root $(DEMO_ROOT)
	$(BIN)/rlrun status demo --root $(DEMO_ROOT)

check: $(VENV)/.dev ## format, lint, types, import contracts
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.dev ## every test that needs no GPU
	$(BIN)/python -m pytest -q -n logical --dist=worksteal -m "not gpu and not slow"
	$(BIN)/python -m pytest -q -n logical --dist=worksteal -m "slow and not gpu"

test-gpu: $(VENV)/.dev ## the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest -q -m gpu

campaign: $(VENV)/.dev ## 500 kills at random moments, 5 in a row on each run: ten minutes
	PYTHONPATH=tests $(BIN)/python benchmarks/kills.py --kills 500

bench: $(VENV)/.dev ## what saving and replaying cost, as ratios in one run
	$(BIN)/python benchmarks/sessions.py

tiny: $(VENV)/.train ## rebuild the built-in model from nothing
	$(BIN)/python -m rlrun.policy.builtin.build_tiny rlrun/policy/builtin/tiny

clean: ## remove the environment and all caches, never a run
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
