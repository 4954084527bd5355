# What a newcomer types. Everything happens in .venv; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
MINUTES ?= 6

.PHONY: help demo test test-slow lint format typecheck clean

help:
	@echo "make demo        install, then grow a face generator to 64 px in about $(MINUTES) minutes"
	@echo "make test        install, then run the tests"
	@echo "make test-slow   the long tests too"
	@echo "make lint        check style and docstrings"
	@echo "make format      lay the code out, and mend what can be mended"
	@echo "make typecheck   check types"

$(VENV)/.installed: setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d: pggan-tf needs 3.11 or newer. Give another: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python train.py --target-res 64 --minutes $(MINUTES)

test: $(VENV)/.tools
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" --durations 15

test-slow: $(VENV)/.tools
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.tools
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/python -m tests.ratchet docstrings

format: $(VENV)/.tools
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

typecheck: $(VENV)/.tools
	$(BIN)/python -m tests.ratchet types

clean:
	rm -rf $(VENV) build *.egg-info
