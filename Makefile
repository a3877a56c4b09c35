# Everything goes through `make install`, which sets up .venv and nothing else.
# PYTHON=... names the Python to use; without it, the first of 3.11, 3.12 and 3.13 that is here.

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench lock clean
.DELETE_ON_ERROR:

BIN := .venv/bin
INSTALLED := .venv/installed
SOURCES := $(shell find swarmd protocols scheduler cli tests -name '*.py' -type f)

help:  ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

install: $(INSTALLED)  ## set up .venv with everything swarmd and its tests need

$(INSTALLED): requirements/torch.txt requirements/lock.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh tools/install.sh

demo: install  ## train a small model on four local nodes
	@$(BIN)/swarmd demo

test: install  ## run every test, and keep which lines ran
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet

# `check` reads what the last whole `make test` wrote, and runs the tests only if the code is newer.
.coverage: $(INSTALLED) $(SOURCES)
	@$(MAKE) --no-print-directory test

check: install .coverage  ## style, types, layers and test coverage
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/coverage report --include='protocols/*,scheduler/*' --fail-under=100 --skip-covered --show-missing
	$(BIN)/coverage report --include='swarmd/*,cli/*' --fail-under=90 --skip-covered

bench: install  ## the measured figures of docs/, on this machine
	@$(BIN)/python -m benchmarks $(ARGS)

lock:  ## write requirements/lock.txt anew from pyproject.toml
	@PYTHON="$(PYTHON)" sh tools/lock.sh

clean:  ## remove .venv and everything the tools left
	rm -rf .venv build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
