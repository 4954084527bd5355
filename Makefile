# What a newcomer types. Everything happens in .venv; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
MINUTES ?= 6

.PHONY: help demo test test-slow lint format typecheck docs dist clean

help:
	@echo "make demo        install, then grow a face generator in about $(MINUTES) minutes, to 64 px on two cores"
	@echo "make test        install, then run the tests"
	@echo "make test-slow   the long tests too"
	@echo "make lint        check style and docstrings"
	@echo "make format      lay the code out, and mend what can be mended"
	@echo "make typecheck   check types"
	@echo "make docs        build the documentation in site/"
	@echo "make dist        build and check what is published, in dist/"

$(VENV)/.installed: setup.cfg setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d: pggan-tf needs 3.11 or newer. Give another: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python train.py --target-res auto --minutes $(MINUTES) --portraits 4000

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

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

# Warnings are errors. The variable leaves out a notice on later versions of MkDocs.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Links of the published README are to the files at the tag v<version>: push the tag, then upload.
dist: $(VENV)/.tools
	$(BIN)/pip install --quiet --disable-pip-version-check build==1.6.1 twine==7.0.0
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist site *.egg-info
