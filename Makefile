# `make demo` and `make test` do all the set-up themselves; one of these Python versions is all they need. They are the
# ones that every locked package has a wheel for, and that `make versions` tries.
VERSIONS := 3.11 3.12 3.13
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VALIDATORS := .venv-validators
VALIDATORS_READY := $(VALIDATORS)/.ready

.PHONY: help setup validators demo test suite test-fast lint-page test-long coverage versions lint style types definitions format docs image ui verify-pyz lock clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## Create .venv from requirements.lock; every file is checked against its hash.

$(READY): requirements.lock pyproject.toml
	@python=$$(PYTHON="$(PYTHON)" .ci/find-python $(VERSIONS)) && $$python -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# The real readers of a release's documents, in an environment of their own (see requirements-validators.in). Two of them
# are source distributions that the pinned setuptools builds, so it is installed first.
$(VALIDATORS_READY): requirements-validators.lock
	@python=$$(PYTHON="$(PYTHON)" .ci/find-python $(VERSIONS)) && $$python -m venv --clear $(VALIDATORS)
	awk '/^[a-z]/ {wanted = /^(setuptools|wheel)==/} wanted' requirements-validators.lock > $(VALIDATORS)/build.txt
	$(VALIDATORS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VALIDATORS)/build.txt
	$(VALIDATORS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --require-hashes \
		-r requirements-validators.lock
	@touch $@

validators: $(VALIDATORS_READY)  ## Create .venv-validators: the real readers that the tests try releases with.

demo: $(READY)  ## Build Danbooru2021 and Danbooru2022 from an embedded booru and verify both.
	$(BIN)/danbooru-pipeline demo

test: lint suite  ## Lint, types and all tests; with -j, side by side.

suite: $(READY) $(VALIDATORS_READY)  ## Run all tests.
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

coverage: $(READY) $(VALIDATORS_READY)  ## Run all tests, count the branches reached in every process, and list the rest.
	rm -rf .coverage-data && mkdir .coverage-data
	$(BIN)/coverage run -m pytest --numprocesses=auto --dist=worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-long: $(READY)  ## Run the tests that wait for daemons: two New Years, Celery workers; 15 minutes or more.
	$(BIN)/python -m pytest --long -m long

versions: $(READY)  ## Try the lock, the command line and some tests with the other Python versions on this machine.
	.ci/versions $(VERSIONS)

test-fast: $(READY)  ## Run the tests that need no whole build.
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal -m "not slow"

lint: style types definitions  ## Run ruff, mypy and Dagster's own validation; `make -j lint` runs them side by side.

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

definitions: $(READY)
	@mkdir -p $(VENV)/dagster && cp danbooru_pipeline/defs/dagster.yaml $(VENV)/dagster/
	DAGSTER_HOME=$(abspath $(VENV)/dagster) $(BIN)/dagster definitions validate -w workspace.yaml

# Node is not needed for anything else, so this is no part of `lint`; .ci/run calls it.
lint-page:  ## Run ESLint on the page of a release; needs npm.
	npm --prefix .ci/eslint ci --silent --no-audit --no-fund
	.ci/eslint/node_modules/.bin/eslint --config .ci/eslint/eslint.config.mjs danbooru_pipeline/release/browse

format: $(READY)  ## Let ruff fix and format what it can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Docker's build context has no .git, so the version is handed in. `docker compose up` then finds the image.
image:  ## Build the container image, stamped with version and commit.
	GIT_DESCRIBE="$$(git describe --tags --match='v[0-9]*' --long --dirty --always --abbrev=40)" docker compose build code

ui: $(READY)  ## Open the Dagster UI on http://127.0.0.1:3000, over the same runs as `build`.
	$(BIN)/danbooru-pipeline ui

verify-pyz: $(READY)  ## Write dist/danbooru-verify.pyz: `verify` in one file that needs Python and pyarrow alone.
	$(BIN)/python -m danbooru_pipeline.release.verify.bundle dist/danbooru-verify.pyz

docs: $(READY)  ## Write the tables of settings, commands, reasons and state files into README.md, docs/commands.md and docs/runbook.md.
	$(BIN)/python -m danbooru_pipeline.cli.reference

lock: $(READY)  ## Resolve the dependencies anew into requirements.lock.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --extra production --extra celery \
		--custom-compile-command "make lock" --no-emit-index-url --no-annotate pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra production --extra celery \
		--custom-compile-command "make lock" --no-emit-index-url --no-annotate -c requirements.lock pyproject.toml \
		-o requirements-production.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --no-emit-index-url --no-annotate requirements-validators.in \
		-o requirements-validators.lock

clean:  ## Remove the environments and the demo.
	rm -rf $(VENV) $(VALIDATORS) .venv-versions data/demo
