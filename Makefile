# Every target sets up what it needs in .venv; PYTHON chooses the interpreter that makes it.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test cluster-test lint bench clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(READY) ## Set up .venv, and do no more

demo: $(READY) ## Answer the question on embedded phantoms: do synthetic images help a U-Net? (about 10 minutes on 2 cores)
	$(RUN) -m src.study name=demo logger=csv resolution=32 phantoms=80 data.sizes.val=40 synthetic=400 trainer.threads=1 \
		generators='[pggan]' generator.images=16_000 generator.width=32 generator.trainer.threads=2 score_generators=false \
		regimes='[real,mixed]' fractions='[0.1,1.0]' seeds=5 unet.images=2_400 unet.batch_size=8 \
		unet.optim.lr=4e-3 unet.model.network.depth=3 unet.model.network.width=8 launcher=joblib hydra.launcher.n_jobs=2
	@echo "Open outputs/demo/study.html"

test: $(READY) ## Run the tests, a process on each core
	$(RUN) -m pytest -n auto

cluster-test: ## Run sweeps on a Slurm of one node, in a temporary folder (needs slurm-wlm, munge and root; installs nothing)
	@test -x $(RUN) || { echo "missing: $(VENV) – make setup makes it"; exit 1; }
	@$(RUN) -m tests.cluster.slurm
	$(RUN) -m pytest -m slurm tests/cluster

lint: $(READY) ## Check style, types, and that packages import downwards
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(READY) ## Measure speed against stated baselines (docs/benchmarks.md)
	$(RUN) -m benchmarks.bench_phantom
	$(RUN) -m benchmarks.bench_store
	$(RUN) -m benchmarks.bench_dcgan
	$(RUN) -m benchmarks.bench_progressive
	$(RUN) -m benchmarks.bench_attention
	$(RUN) -m benchmarks.bench_scores
	$(RUN) -m benchmarks.bench_similarity

clean: ## Remove the environment and caches; outputs/ stays
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
