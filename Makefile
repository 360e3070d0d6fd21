# One word for each thing that is done with this project. `make` alone lists them.
# Only Python 3.11 or newer and make are needed; everything else goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEEDS ?= 0:10000
BENCH ?=
PYTHON ?= # which to take, when the first that is new enough will not do

.DEFAULT_GOAL := help
.PHONY: help install demo test check format bench prove golden secrets clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## Make .venv with drawbar and its tools, every version pinned

# The first Python that is new enough and can make an environment. (A name on PATH may be a stub
# that only says which versions exist, so each is asked to run.)
$(STAMP): pyproject.toml constraints.txt
	@python=; for name in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3; do \
	  if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "drawbar needs Python 3.11 or newer with its venv module (Debian: python3-venv)" >&2; exit 1; \
	fi; \
	echo "installing into $(VENV) with $$python (a minute when packages have to be fetched)"; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $$python -m venv --clear $(VENV)
	@export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools && \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## Run a pipeline through all four services, and show what they did
	@$(BIN)/python examples/demo.py

# Three at a time, also on two cores: tests of real daemons wait about as often as they compute. The
# order is that of tests/conftest.py, long files first.
test: $(STAMP) ## Every test: unit, contract, service, system, simulation
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -rs

check: $(STAMP) ## Format, lint, types, imports, packaging, documents: no test of behaviour
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/unit/test_packaging.py tests/unit/test_documents.py

format: $(STAMP) ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure speed and memory beside xargs and make; BENCH="--help" lists options
	@$(BIN)/python -m benchmarks $(BENCH)

prove: $(STAMP) ## The long proofs, and many simulated fleets that fail; SEEDS=0:10000
	@$(BIN)/python -m pytest -m prove --timeout 900
	@$(BIN)/python -m simulation --regressions
	@$(BIN)/python -m simulation --seeds $(SEEDS) --jobs 2

golden: $(STAMP) ## Write the golden files and diagrams anew, to be reviewed as a diff
	@DRAWBAR_GOLDEN=write $(BIN)/python -m pytest -p no:randomly -k 'golden or diagram'

secrets: $(STAMP) ## Make the three secrets that compose.yaml hands to the services
	@$(BIN)/python -c 'from pathlib import Path; from shared.keys import load_keys; \
	  from shared.runtime import SystemRuntime; from shared.secret_files import load_secrets_key; \
	  here = (Path("secrets"), SystemRuntime()); load_keys(*here); load_secrets_key(*here)'
	@echo "secrets/ is made. The containers' user has to read it: chown -R 7400:7400 secrets"

clean: ## Remove .venv, caches and build output
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
