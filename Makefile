# Hearth: `make help` lists what there is. PYTHON names the interpreter that the environment is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= hearth.yaml
WORKERS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# An editable install is compiled when it is first run, and each time where the environment forbids to keep the result.
COMPILE := $(BIN)/python -m compileall -q homeserver storage federation client_api schemas

.DEFAULT_GOAL := help
.PHONY: help setup run test uneven clients check conformance format bench generate migration lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready-dev ## make the environment (.venv) with everything for running, testing and checking

run: $(VENV)/.ready-run ## serve: makes the environment, config, key and data folder where absent (CONFIG=… NAME=… PORT=… for another)
	@test -f $(CONFIG) || $(BIN)/hearth init --config $(CONFIG) $(if $(NAME),--server-name $(NAME)) $(if $(PORT),--client-port $(PORT))
	@echo "(the command hearth is $(BIN)/hearth here)"
	@exec $(BIN)/hearth run --config $(CONFIG)

test: $(VENV)/.ready-dev ## run the tests, on SQLite and on a PostgreSQL and Redis of their own (ARGS=… for pytest)
	@$(BIN)/python tests/clients/matrix-sdk-python/install.py .cache/matrix-sdk-python || true
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

uneven: $(VENV)/.ready-dev ## run the tests while databases, Redis and other servers answer late, by milliseconds (UNEVEN=20, ARGS=…)
	PYTHONPATH=$(CURDIR)/tests/uneven HEARTH_UNEVEN=$(or $(UNEVEN),20) $(BIN)/python -m pytest -n $(WORKERS) \
	  --dist worksteal --ignore tests/architecture --ignore tests/federation/test_simulated_networks.py $(ARGS)

clients: $(VENV)/.ready-dev ## drive Hearth with real clients that need npm or Rust (CLIENTS=matrix-js-sdk for one; tests/clients)
	$(BIN)/python -m tests.clients.run $(CLIENTS)

check: $(VENV)/.ready-dev ## run the guards: style, layers, types, dead code, dependencies, architecture
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/vulture
	$(BIN)/deptry .
	$(BIN)/python -m pytest -q tests/architecture

conformance: $(VENV)/.ready-dev ## hold answers against the specification, which lies beside the checkout (HEARTH_SPECIFICATION=…)
	tools/environment .cache/schemathesis tests/specification/requirements.txt
	HEARTH_SCHEMATHESIS_PYTHON=$(CURDIR)/.cache/schemathesis/bin/python \
	  $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -o 'norecursedirs=.*' -p tests.specification.recorder --specification=whole \
	  -k 'not postgresql' --ignore tests/federation/test_simulated_networks.py tests/specification tests/client_api tests/federation $(ARGS)

format: $(VENV)/.ready-dev ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready-run ## measure Hearth and Synapse side by side (PRESET=smoke|quick|full, ARGS=… for bench.py)
	bench/run

generate: $(VENV)/.ready-dev ## write the generated files: config.example.yaml, docs/endpoints.md, the map in docs/ARCHITECTURE.md
	$(BIN)/python -m tools.generate

migration: $(VENV)/.ready-dev ## write the next migration from storage/tables (MESSAGE="What it brings"); read it before you use it
	$(BIN)/python -m tools.new_migration "$(MESSAGE)"

lock: $(VENV)/.ready-dev ## pin the newest versions that pyproject.toml allows, in requirements.lock and requirements-dev.lock
	tools/lock

clean: ## remove the environment and caches; never the config, the keys or the data
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Hearth needs Python 3.11 or newer: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Installed again only when a lock or the project's own metadata changed.
$(VENV)/.ready-run: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) -r requirements.lock
	$(PIP) --no-deps --editable .
	$(COMPILE)
	@touch $@

$(VENV)/.ready-dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) -r requirements-dev.lock
	$(PIP) --no-deps --editable .
	$(COMPILE)
	@touch $@ $(VENV)/.ready-run
