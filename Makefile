# Two commands: `make run` and `make test`. Everything they need is installed into .venv from pyproject.toml, with the
# versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q
# For two cores: many tests wait for something.
WORKERS ?= 3

.PHONY: run test quick lint bench clean help
.DEFAULT_GOAL := help

help:
	@echo "make run     start the hub on hub.yaml (four mock tools, one story): http://127.0.0.1:8080"
	@echo "make test    everything that proves it, with real Kafka, PostgreSQL and a browser (15 minutes)"
	@echo "make quick   the quick part of it (two minutes)"
	@echo "make bench   deliveries, events, latencies (twenty minutes); ARGS=short for a first look, ARGS=backfill for 1,000,000 objects (an hour for each pair)"
	@echo "make clean   remove environment and demo data"

.venv/made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "supporthub needs Python 3.11 or newer; name it with PYTHON=python3.12"; exit 1; }
	@echo "installing into .venv (about a minute, once) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -c constraints.txt -e .
	@touch $@

.venv/dev: .venv/made
	@echo "installing what the tests need …"
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

run: .venv/made
	@exec $(BIN)/hub run

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: .venv/dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not slow and not kafka and not browser' $(ARGS)

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations=15 $(ARGS)

bench: .venv/dev
	$(BIN)/python -m tests.bench $(ARGS)

clean:
	rm -rf .venv var
