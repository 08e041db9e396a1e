# Traghetto. `make` alone lists what there is. Everything lives in this folder: .venv (the environment) and .cache (tools).
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The first Python that runs and is new enough; `make setup PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# uv from the path, or a private one from the package index.
UV := $(or $(shell command -v uv 2>/dev/null),.cache/uv/bin/uv)
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE ?= copy
NODE_SUITE := tests/e2e/node
# Each prints its figures beside those of its peers in the same run; gpu says so where there is none.
BENCH ?= gateway accounts transport limits_soak speech engine engine_peers gpu
WEEK_AGO = $(shell $(PYTHON) -c 'import datetime as d; print(d.date.today() - d.timedelta(days=7))')
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --exclude-newer $(WEEK_AGO) pyproject.toml

.PHONY: help setup serve test test-slow check bench fmt gpu lock clean

help: ## this list
	@awk 'BEGIN { FS = ":.*## "; print "make TARGET [ARGS=\"…\"]\n" } /^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.serving ## the private environment, ready to serve (first time: compiles llama.cpp, about 5 minutes)

serve: setup ## serve on http://127.0.0.1:8000; ARGS="--config FILE --port N" as for `traghetto serve`
	@exec $(BIN)/traghetto serve $(ARGS)

test: $(VENV)/.testing $(NODE_SUITE)/node_modules/.done ## the whole suite but the slow tests; ARGS="tests/unit -x" for a part
	@$(BIN)/python $(if $(ARGS),-m pytest -q $(ARGS),tests/halves.py)

test-slow: $(VENV)/.testing ## the soaks and statistical tests
	@$(BIN)/python -m pytest -q -m slow $(ARGS)

check: $(VENV)/.testing ## lint, format, types, architecture
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/architecture

bench: $(VENV)/.testing ## the benchmarks, one after the other; BENCH=gateway ARGS="--seconds 2" for one of them
	@for name in $(BENCH); do echo "== tests/bench/$$name.py"; PYTHONPATH=.:tests $(BIN)/python tests/bench/$$name.py $(ARGS); done

fmt: $(VENV)/.testing ## format, and mend what the linter can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

gpu: setup ## compile llama.cpp again, for CUDA (CMAKE_ARGS="-DGGML_VULKAN=on" for another)
	@CMAKE_ARGS="$${CMAKE_ARGS:--DGGML_CUDA=on}" bash deploy/setup.sh $(UV) $(VENV) requirements.lock rebuild

lock: .cache/uv/.done ## compile both locks again, from releases that are at least a week old
	@$(COMPILE) --upgrade -o requirements.lock
	@$(COMPILE) --upgrade --group dev -c requirements.lock -o requirements-dev.lock

clean: ## remove what make and the tests made (the environment stays: rm -rf .venv .cache)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .schemathesis
	@find proxy routes adapters tests deploy -name __pycache__ -prune -exec rm -rf {} +

# --- what stands behind them; each stamp is newer than what it was made from, so that the second time costs nothing ---

.cache/uv/.done:
	@[ -n "$(PYTHON)" ] || { echo "Traghetto needs Python 3.11 or newer; found none (PYTHON=/path/to/python chooses one)" >&2; exit 1; }
	@mkdir -p .cache/uv
	@if ! command -v $(UV) >/dev/null; then \
	    echo "uv is not here: installing it into .cache/uv"; \
	    rm -rf .cache/uv/*; \
	    if $(PYTHON) -m venv .cache/uv 2>/dev/null; then \
	        .cache/uv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.8,<1"; \
	    else \
	        $(PYTHON) -m pip install --quiet --disable-pip-version-check --target .cache/uv "uv>=0.8,<1"; \
	    fi; \
	fi
	@touch $@

$(VENV)/.made: .cache/uv/.done
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.serving: requirements.lock pyproject.toml deploy/setup.sh $(VENV)/.made
	@bash deploy/setup.sh $(UV) $(VENV) requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.testing: requirements-dev.lock $(VENV)/.serving
	@bash deploy/setup.sh $(UV) $(VENV) requirements-dev.lock
	@touch $@

$(NODE_SUITE)/node_modules/.done: $(NODE_SUITE)/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --prefix $(NODE_SUITE); \
	else echo "npm is not here: the tests of the Node SDK will be skipped"; mkdir -p $(@D); fi
	@touch $@
