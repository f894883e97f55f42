# `make demo` and `make test` do all the set-up themselves; Python 3.11 or newer is all they need.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VALIDATORS := .venv-validators
VALIDATORS_READY := $(VALIDATORS)/.ready

.PHONY: help validators demo test test-fast test-long coverage lint style types definitions format lock setup ui clean

help:  ## Say what can be made.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## Make .venv with everything of requirements.lock, each file checked against its hash.

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed; install it, then run make again"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# The real readers of a release's papers, apart from the project (see requirements-validators.in). Two of them are
# source distributions that are built with the pinned setuptools, which therefore comes first.
$(VALIDATORS_READY): requirements-validators.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed; install it, then run make again"; exit 2; }
	$(PYTHON) -m venv --clear $(VALIDATORS)
	awk '/^[a-z]/ {wanted = /^(setuptools|wheel)==/} wanted' requirements-validators.lock > $(VALIDATORS)/build.txt
	$(VALIDATORS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VALIDATORS)/build.txt
	$(VALIDATORS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --require-hashes \
		-r requirements-validators.lock
	@touch $@

validators: $(VALIDATORS_READY)  ## Make .venv-validators: the real readers that the tests hold releases against.

demo: $(READY)  ## Build Danbooru2021 and Danbooru2022 from an embedded booru, and verify both.
	$(BIN)/danbooru-pipeline demo

test: lint $(VALIDATORS_READY)  ## Lint, types and all tests.
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

coverage: $(READY) $(VALIDATORS_READY)  ## All tests with branches counted in every process, and what they do not reach.
	rm -rf .coverage-data && mkdir .coverage-data
	$(BIN)/coverage run -m pytest --numprocesses=auto --dist=worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-long: $(READY)  ## What waits for daemons: two New Years, Celery workers; 15 minutes or more.
	$(BIN)/python -m pytest --long -m long

test-fast: $(READY)  ## Only the tests that take no builds.
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal -m "not slow"

lint: style types definitions  ## Ruff, formatting, mypy, and Dagster's own validation; `make -j lint` runs them side by side.

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

definitions: $(READY)
	@mkdir -p $(VENV)/dagster && cp danbooru_pipeline/defs/dagster.yaml $(VENV)/dagster/
	DAGSTER_HOME=$(abspath $(VENV)/dagster) $(BIN)/dagster definitions validate -w workspace.yaml

format: $(READY)  ## Let ruff mend what it can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(READY)  ## Open the Dagster UI on http://127.0.0.1:3000.
	mkdir -p $${DAGSTER_HOME:-data/dagster}
	test -e $${DAGSTER_HOME:-data/dagster}/dagster.yaml || cp danbooru_pipeline/defs/dagster.yaml $${DAGSTER_HOME:-data/dagster}/
	DAGSTER_HOME=$$(realpath $${DAGSTER_HOME:-data/dagster}) $(BIN)/dagster dev -w workspace.yaml

lock: $(READY)  ## Resolve the dependencies anew into requirements.lock.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --extra production --extra celery \
		--custom-compile-command "make lock" --no-emit-index-url --no-annotate pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --no-emit-index-url --no-annotate requirements-validators.in \
		-o requirements-validators.lock

clean:  ## Remove the environment and the demo.
	rm -rf $(VENV) $(VALIDATORS) data/demo
