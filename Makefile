# Two commands do everything that they need on a fresh Debian or Ubuntu machine: make demo, make test.
# README.md has the same commands for people without make.

VENV ?= .venv
BIN := $(VENV)/bin
# One thread a process: the tiny arrays here are slower with two.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test train-smoke windows-a-l windows-m-z lint types layers check format clean

demo: $(BIN)/.demo-ready
	$(BIN)/ibisagent demo --out demo-output

# The tests of windows run in two processes, each with a screen of its own: two windows on one would take each other's
# keyboard. More processes don't pay: the first window costs seconds, every further one far less.
test: $(BIN)/.dev-ready
	$(BIN)/python -m pytest -n 2 --dist worksteal -p no:napari -p no:pytest-qt --ignore=tests/ui
	$(MAKE) --no-print-directory --output-sync=target -j 2 windows-a-l windows-m-z
	$(MAKE) --no-print-directory train-smoke

# The whole way of training in a minute or two: trajectories, fine-tuning, playing, a trial. Far too short to learn much.
SMOKE := build/train-smoke
train-smoke: $(BIN)/.dev-ready
	rm -rf $(SMOKE)
	$(BIN)/ibisagent phantom -o $(SMOKE)/ct.nii.gz --labels $(SMOKE)/truth.nii.gz
	$(BIN)/ibisagent trajectories $(SMOKE)/ct.nii.gz $(SMOKE)/truth.nii.gz --target body --segmenter geodesic --least-iou 0 -o $(SMOKE)/trajectories
	$(BIN)/ibisagent train nano -o $(SMOKE)/nano --exercises 200 --sight 20 --pointing 5 --steps 20 --trials 8 --measure-every 20
	$(BIN)/ibisagent train rl --from resources/nano -o $(SMOKE)/rl --steps 2 --exercises 2 --group 4 --trials 8 --measure-every 2
	$(BIN)/ibisagent train trial $(SMOKE)/rl --count 20

windows-a-l windows-m-z: windows-%: $(BIN)/.dev-ready
	sh .ci/screen run $(BIN)/python -m pytest tests/ui/test_[$*]*.py

lint: $(BIN)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(BIN)/.dev-ready
	$(BIN)/mypy

layers: $(BIN)/.dev-ready
	$(BIN)/lint-imports

check: test lint types layers

format: $(BIN)/.dev-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/.demo-ready: pyproject.toml constraints.txt
	sh .ci/setup $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(BIN)/.dev-ready: pyproject.toml constraints.txt
	sh .ci/setup $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	sh .ci/screen install $(BIN)/python
	touch $@

clean:
	rm -rf $(VENV) demo-output build dist
