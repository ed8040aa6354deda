# make demo: the whole job on this machine. make test: every check. make bench: the ratios. All may be run again at no cost.
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_ARGS ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench docs clean
.DEFAULT_GOAL := test

$(INSTALLED): setup.cfg setup.py pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(PIP_ARGS) --constraint .ci/constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/demo.sh demo-out

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" lint-imports --no-logo

test: lint
	VENV=$(VENV) .ci/test $(PYTEST_ARGS)

bench: $(INSTALLED)
	failed=; for script in $(filter-out benchmarks/common.py benchmarks/fashion_results.py benchmarks/study.py,$(wildcard benchmarks/*.py)); do \
	    echo "== $$script"; $(BIN)/python $$script || failed="$$failed $$script"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

docs: $(INSTALLED)
	$(BIN)/python docs/commands.py

clean:
	rm -rf demo-out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
