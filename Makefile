# `make run` and `make test` need Python 3.11 or newer and its pip, and nothing else: what they install goes
# into .venv, and is installed anew when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM_PACKAGES := iproute2 nftables libfaketime
ROUNDS ?= 3
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run test test-deps torture bench lint format

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed-dev ## the daemon with a server of its own and a folder to drop files in
	@$(BIN)/syncdaemon dev $(ARGS)

test: $(VENV)/.installed-test ## the tests, but for the slow ones; ARGS="-k name" picks
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-deps: ## the system packages that a few tests need (Debian; as root, or with sudo)
	@missing=; \
	for name in $(SYSTEM_PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$name"; \
	done; \
	if [ -z "$$missing" ]; then echo "test-deps: all there"; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "test-deps: install these by hand:$$missing" >&2; exit 1; fi; \
	echo "test-deps: installing$$missing"; \
	sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null

torture: $(VENV)/.installed-test ## the slow tests, that kill and cut at random; ROUNDS=n goes on for longer
	@ROUNDS=$(ROUNDS) $(BIN)/python -m pytest tests/integration -m slow $(ARGS)

bench: $(VENV)/.installed-test ## the benchmarks, as a Markdown table
	@$(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/.installed-test ## style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy --strict

format: $(VENV)/.installed-test ## put imports and layout in order
	@$(BIN)/ruff check --select I --fix
	@$(BIN)/ruff format

$(VENV)/.installed-%: pyproject.toml $(VENV)/.made
	@echo "installing what $(if $(filter dev,$*),make run,the tests) needs into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# Debian keeps what puts pip into an environment in a package of its own, python3-venv. Without it, the pip that
# is there installs the environment's own.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    $(PYTHON) -m venv $(VENV); \
	else \
	    echo "this Python has no ensurepip: its pip fills $(VENV)"; \
	    $(PYTHON) -m venv --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(VENV)/bin/python install --quiet --disable-pip-version-check pip; \
	fi || \
	    { echo "can't make $(VENV): this Python needs pip, or its venv package (Debian: python3-venv)" >&2; exit 1; }
	@touch $@
