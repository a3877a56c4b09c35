# Everything goes through `make install`, which sets up .venv and nothing else.
# PYTHON=... names the Python to use; without it, the first of 3.11, 3.12 and 3.13 that is here.

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench lock clean
.DELETE_ON_ERROR:

BIN := .venv/bin
INSTALLED := .venv/installed
SOURCES := $(shell find swarmd protocols scheduler cli tests -name '*.py' -type f 2>/dev/null)

help:  ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## set up .venv with everything swarmd and its tests need

$(INSTALLED): requirements/torch.txt requirements/lock.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh tools/install.sh

demo: install  ## train a small model on four local nodes
	@$(BIN)/swarmd demo

# Many tests wait for sockets and processes more than they compute, so there are more of them at once than cores.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

# ARGS narrows the tests, which then run one by one and unmeasured:  make test ARGS="tests/scheduler -x"
test: install  ## run every test, and record which lines ran
ifdef ARGS
	@$(BIN)/pytest $(ARGS)
else
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal -m "not heavy"
	@$(BIN)/coverage combine --quiet
	@$(BIN)/pytest -m heavy
endif

# `check` reads what `make test` recorded, and runs the tests only where the code is newer than that.
.coverage: $(INSTALLED) $(SOURCES)
	@$(MAKE) --no-print-directory test ARGS=

check: install .coverage  ## style, types, layers and test coverage
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/coverage report --include='protocols/*,scheduler/*' --fail-under=100 --skip-covered --show-missing
	$(BIN)/coverage report --include='swarmd/*,cli/*' --fail-under=90 --skip-covered

BENCHMARKS := pipeline homelinks channel averaging codecs looplag routing planner simulate churn
# FULL=1 takes hours and wants a machine with nothing else to do; homelinks needs root.
bench: install  ## run every speed benchmark, in a short form that only shows that it runs; FULL=1 for figures
	@for each in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$each --json $(if $(FULL),,--short) || exit 1; done

lock:  ## write requirements/lock.txt anew from pyproject.toml
	@PYTHON="$(PYTHON)" sh tools/lock.sh

clean:  ## remove .venv and everything the tools left
	rm -rf .venv build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
