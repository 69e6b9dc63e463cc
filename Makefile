# Everything sets itself up: a virtual environment in .venv with exactly the versions in constraints.txt.
# PIP_FLAGS reaches pip; on Linux, --extra-index-url https://download.pytorch.org/whl/cpu avoids PyTorch's CUDA packages.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP_FLAGS ?=
PROCESSES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)

.PHONY: demo test fuzz lint format check clean help

help:  ## Show what there is to make.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dualml needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)  ## Train the founding network in both frameworks on real data and prove that they are the same model.
	rm -rf runs/demo-torch runs/demo-tensorflow
	$(BIN)/dualml train configs/mlp.yaml --backend torch --out runs/demo-torch
	$(BIN)/dualml train configs/mlp.yaml --backend tensorflow --out runs/demo-tensorflow
	$(BIN)/dualml compare configs/mlp.yaml

test: $(READY)  ## Run every test.
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadgroup

fuzz: $(READY)  ## Check 5,000 random models and 5,000 with mistakes, other ones each time.
	DUALML_FUZZ_EXAMPLES=5000 $(BIN)/python -m pytest tests/catalogue/test_random_models.py --numprocesses $(PROCESSES) --dist worksteal

lint: $(READY)  ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test  ## Everything that must hold.

format: $(READY)  ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the environment and everything generated.
	rm -rf $(VENV) build dist runs *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
