# One line of set-up for every target: a virtual environment in .venv, made when it is missing or when what it is made from changed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# Two test processes share the cores; more threads in each would only stand in each other's way.
export OMP_NUM_THREADS ?= 1
export SDL_VIDEODRIVER ?= dummy

EXTRAS := dev,docs,ot,faiss,box2d,fast,atari,onnx,ray,datasets,graph,hub,pretrained,watch

# Timings, in minutes; trainings and tables have commands of their own, named in docs/results.
TIMINGS := startup renderer looks evaluation training_rate training_profile latent_core latent_coupling

.DEFAULT_GOAL := help
.PHONY: help setup test test-lowest lint fuzz demo bench docs clean

help:
	@echo "make setup   install rlstitch and the developers' tools into $(VENV)"
	@echo "make test    run all tests with coverage"
	@echo "make test-lowest   run all tests with the lowest versions that are allowed, in $(VENV)-lowest"
	@echo "make lint    check style, types, import contracts and declared dependencies"
	@echo "make fuzz    20,000 damaged files and every kind of bomb for every reader; takes minutes"
	@echo "make demo    train two agents, stitch them, write a report (installs rlstitch alone)"
	@echo "make bench   measure speed beside the usual tools; takes minutes"
	@echo "make docs    build the documentation into site/"
	@echo "make clean   remove caches and $(VENV)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps say what was installed; a developer's set-up holds all that the demo needs.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e '.'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e '.[$(EXTRAS)]'
	@touch $(VENV)/.installed $@

setup: $(VENV)/.installed-dev

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --disable-pip-version-check uv
	$(VENV)-lowest/bin/uv pip install --python $(VENV)-lowest --resolution lowest-direct -e '.[$(EXTRAS)]'
	$(VENV)-lowest/bin/python -m pytest -n 2 --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src

fuzz: setup
	$(BIN)/python tests/fuzz/fuzz_run.py

demo: $(VENV)/.installed
	$(BIN)/rlstitch demo

bench: setup
	@for script in $(TIMINGS); do echo "== $$script"; $(BIN)/python benchmarks/$$script.py || exit 1; done

# The theme's notice about its own future is no warning about these pages.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist site htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
