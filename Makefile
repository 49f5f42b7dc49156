# Everything runs in .venv, which `make install` makes from pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

RESULTS := .benchmarks/results.json

.PHONY: install demo test test-all lint measure bench bench-update readme clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/python -m bench run --method all --budget 30s --test-limit 400 --out results/demo
	$(BIN)/python -m bench report --results results/demo

test: install
	$(BIN)/python -m pytest -q

test-all: install lint
	$(BIN)/python -m pytest -q -m ''

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Times of training steps, evaluation, tokenisation and report, relative to a kernel. On a quiet machine, please.
bench: measure
	$(BIN)/python -m tests.benchmarks.compare $(RESULTS)

bench-update: measure
	$(BIN)/python -m tests.benchmarks.compare $(RESULTS) --update

measure: install
	@mkdir -p $(dir $(RESULTS))
	$(BIN)/python -m pytest -q tests/benchmarks --benchmark-only --benchmark-enable --benchmark-json=$(RESULTS)

readme: install
	$(BIN)/python -m bench.report.readme

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build *.egg-info results/demo
