# Every target sets up what it needs in .venv; PYTHON chooses the interpreter that makes it.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY) ## Train two DCGANs on embedded phantoms and compare them (under 6 minutes on 2 cores)
	$(RUN) -m src.train -m name=demo model=dcgan,dcgan_transposed images=24_000
	@echo "Open outputs/demo/compare.html"

test: $(READY) ## Run the tests
	$(RUN) -m pytest

lint: $(READY) ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(READY) ## Measure speed against stated baselines (docs/benchmarks.md)
	$(RUN) -m benchmarks.bench_phantom
	$(RUN) -m benchmarks.bench_store
	$(RUN) -m benchmarks.bench_dcgan
	$(RUN) -m benchmarks.bench_progressive
	$(RUN) -m benchmarks.bench_attention

clean: ## Remove the environment and caches; outputs/ stays
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
