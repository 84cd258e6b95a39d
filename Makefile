.DEFAULT_GOAL := help
.PHONY: help install run test lint golden release
PYTHON ?= python3

help:  ## Say what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

install: .venv/installed  ## Build the environment in .venv

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --editable '.[dev]'
	touch $@

run: install  ## Start everything with a demo, on this machine alone
	.venv/bin/fieldlog up

# A file's tests run together, in turn; each worker has servers of its own.
test: install  ## Run every test
	.venv/bin/pytest -n logical --maxprocesses 4 --dist loadfile

lint: install  ## Check style, types and import rules
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

golden: install  ## Write the golden files anew, but no sample of a fact that has one
	.venv/bin/python -m tests.house.golden

release: golden  ## Take the contract with consumers, as it stands, for that of the last release
	.venv/bin/python -m tests.house.golden release
