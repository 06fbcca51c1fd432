# What you do with this project. Every target sets up what it needs: the virtual environment once per change of
# requirements.lock, the control-plane programs once per machine (kept in ~/.cache/paybill, outside the checkout).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# The stamps carry digests, not times: a checkout of another branch and back costs nothing. The folder is in them too,
# because a virtual environment cannot be moved.
digest = $(shell (echo $(CURDIR); cat $(1)) | (sha256sum 2>/dev/null || shasum -a 256) | cut -c1-16)
DEPENDENCIES := $(VENV)/.dependencies-$(call digest,requirements.lock)
READY := $(VENV)/.ready-$(call digest,requirements.lock pyproject.toml)
# What only the tests of the engines need, the clouds' SDKs among it, is 1.5 GB: the demo does without.
ENGINES := $(VENV)/.engines-$(call digest,requirements-engines.lock)
# A virtual environment whose Python is gone is none.
$(shell $(BIN)/python -c '' 2>/dev/null || rm -f $(VENV)/.dependencies-*)
TENANTS ?= 500
PYTEST_ARGS ?=
# Test files run side by side, each worker with servers of its own. WORKERS=0: one after the other, in this process.
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN | awk '{print $$1 < 2 ? 0 : ($$1 > 4 ? 4 : $$1)}')
BESIDE := -n $(WORKERS) --dist loadfile

.PHONY: help
help: ## List what can be done
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: binaries ## Bring up a whole Paybill with sample tenants and an AI agent on this machine, and leave it running
	@$(BIN)/paybill up --detach --samples manifests/demo --agents manifests/agents

.PHONY: down
down: ## Stop what `make demo` started; its data stays (`.venv/bin/paybill down --purge` removes it)
	@if [ -x $(BIN)/paybill ]; then $(BIN)/paybill down; else echo "nothing is set up, so nothing runs"; fi

.PHONY: test
test: binaries $(ENGINES) ## Everything: style, types, import laws, generated files, all tests
	@failed=""; \
	for check in lint types generated; do $(MAKE) $$check || failed="$$failed $$check"; done; \
	$(BIN)/pytest $(BESIDE) -m "not exhaustive" $(PYTEST_ARGS) || failed="$$failed pytest"; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

.PHONY: test-exhaustive
test-exhaustive: binaries $(ENGINES) ## The long runs that `make test` leaves out: every crash point, many rounds, all outages
	@$(BIN)/pytest $(BESIDE) -m exhaustive $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: $(READY) ## Only the tests that start no server
	@$(BIN)/pytest tests/unit tests/property $(PYTEST_ARGS)

.PHONY: engines
engines: $(ENGINES) ## The clouds' SDKs and the emulator, for `paybill render` and the tests of the engines

.PHONY: lint
lint: $(READY) ## Style, format and import laws
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

.PHONY: types
types: $(READY) ## mypy, strict
	@$(BIN)/mypy

.PHONY: types-clouds
types-clouds: $(READY) ## mypy of the clouds' programs with their SDKs (minutes and gigabytes when its cache is cold)
	@for cloud in aws azure gcp kubernetes oci; do \
	  echo "$$cloud"; $(BIN)/mypy --config-file mypy-clouds.ini -p paybill.engines.pulumi.programs.$$cloud; \
	done

.PHONY: format
format: $(READY) ## Put the code into its format
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

.PHONY: generated
generated: $(READY) ## Fail when CRDs or reference pages differ from the code
	@$(BIN)/paybill crds --check --docs
	@$(BIN)/paybill crds --check --output helm/paybill/files/crds
	@$(BIN)/paybill rbac --check
	@$(BIN)/paybill admission --check
	@$(BIN)/python docs/generate.py --check

.PHONY: crds
crds: $(READY) ## Write the CRDs, the operator's RBAC and the admission policies, also into the chart
	@$(BIN)/paybill crds
	@$(BIN)/paybill crds --output helm/paybill/files/crds
	@$(BIN)/paybill rbac
	@$(BIN)/paybill admission

.PHONY: docs
docs: $(READY) ## Write the generated reference pages
	@$(BIN)/paybill crds --docs
	@$(BIN)/python docs/generate.py

.PHONY: bench
bench: binaries ## Measure onboarding: make bench TENANTS=500
	@$(BIN)/python bench/onboarding.py --tenants $(TENANTS)

.PHONY: binaries
binaries: $(READY) ## Fetch or build the control-plane programs (minutes, once per machine)
	@$(BIN)/paybill binaries >/dev/null

.PHONY: venv
venv: $(READY) ## Only the virtual environment

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --quiet --no-annotate --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header

.PHONY: lock
lock: $(READY) ## Renew the lock files from pyproject.toml (needs uv): the widest first, the others agree with it
	@$(LOCK) --upgrade --extra local --extra dev --extra engines --output-file requirements-engines.lock
	@$(LOCK) --constraint requirements-engines.lock --extra local --extra dev --output-file requirements.lock
	@$(LOCK) --constraint requirements-engines.lock --extra agents --output-file requirements-runtime.lock

.PHONY: hooks
hooks: ## Run the checks at every commit (needs pre-commit)
	@pre-commit install

.PHONY: clean
clean: ## Remove the virtual environment and what tools left here; neither caches nor data of an instance
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last, so what an interrupted run left half made is made anew.
$(DEPENDENCIES):
	@for python in "$${PYTHON:-}" python3.13 python3.12 python3.11 python3; do \
	  if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found="$$python"; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Paybill needs Python 3.11 or newer: install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$found has no venv: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; \
	fi; \
	echo "setting up $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --no-deps --require-hashes -r requirements.lock
	@touch $@

$(ENGINES): $(READY)
	@echo "adding the clouds' SDKs to $(VENV)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --require-hashes \
	  -r requirements-engines.lock
	@rm -f $(VENV)/.engines-*
	@touch $@

$(READY): $(DEPENDENCIES)
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.ready-*
	@touch $@
