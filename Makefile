# `make run` and `make test` need Python 3.11 or newer and its pip, and nothing else: what they install goes
# into .venv, and is installed anew when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM_PACKAGES := e2fsprogs golang-go golang-golang-x-mod-dev iproute2 libfaketime nftables openssl
CONTAINER_PACKAGES := podman buildah runc catatonit netavark aardvark-dns debootstrap iproute2
RULES := k8s/components/monitoring
SITE_RULES := k8s/components/expected-sites
SITES ?= $(SITE_RULES)/expected_sites.txt
PROMETHEUS := .cache/prometheus
ROUNDS ?= 3
CASES ?= 200000
WORKERS ?= 4
LENGTHY_WORKERS ?= 3
DEPLOY_WORKERS ?= 2
ENGINE ?= podman
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' services/syncdaemon/__init__.py)
IMAGE ?= agentforge/syncdaemon:$(VERSION)
SBOM ?= dist/syncdaemon-$(VERSION).cdx.json
BASE ?=
ARGS ?=
FINAL ?=
WITHOUT ?=

# Tests start hundreds of daemons, some of them as users who may not write here: none of them compiles the sources anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run compiled test test-lengthy test-macos test-deps test-deploy test-container test-container-deps torture fuzz edge drain bench \
    lint format lock rules screenshots sbom image deb release

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed-dev ## the daemon with a server of its own and a folder to drop files in
	@$(BIN)/syncdaemon dev $(ARGS)

test: compiled ## the tests, but for the slow ones; ARGS="-k name" picks
	@scripts/two_passes.sh "not slow and not lengthy and not manifests and not container" $(WORKERS) \
	    $(BIN)/python -m pytest $(ARGS)

test-lengthy: compiled ## other tests that take minutes: full disks and streams, the other end, slow links, the runbook, the alerts
	@scripts/two_passes.sh lengthy $(LENGTHY_WORKERS) $(BIN)/python -m pytest $(ARGS)

test-macos: compiled ## every command on macOS; on Linux the same, without the calls that macOS lacks
	@$(BIN)/python -m pytest tests/integration/test_macos.py $(ARGS)

test-deps: $(PROMETHEUS)/.unpacked ## the system packages that a few tests need (Debian; as root, or with sudo)
	@$(call install_missing,$(SYSTEM_PACKAGES))

test-deploy: compiled $(VENV)/.installed-deploy $(VENV)/.installed-sbom ## the manifests: rendered, validated, held against the code
	@scripts/two_passes.sh manifests $(DEPLOY_WORKERS) $(BIN)/python -m pytest tests/deploy $(ARGS)

test-container: compiled $(VENV)/.installed-deploy ## the image, built and run, and the pods of a site (as root)
	@scripts/two_passes.sh container 0 $(BIN)/python -m pytest tests/deploy $(ARGS)

test-container-deps: ## the system packages that make test-container needs (Debian; as root, or with sudo)
	@$(call install_missing,$(CONTAINER_PACKAGES))

# Debian's prometheus, unpacked and not installed: its package would start a service on this machine.
$(PROMETHEUS)/.unpacked:
	@if command -v prometheus && command -v promtool; then exit 0; fi >/dev/null; \
	if ! command -v apt-get >/dev/null; then echo "test-deps: install by hand: prometheus" >&2; exit 1; fi; \
	echo "test-deps: unpacking prometheus into $(@D)"; \
	sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
	rm -rf $(@D) && mkdir -p $(@D) && cd $(@D) && \
	download="apt-get download -qq -o APT::Sandbox::User=$$(id -un) prometheus" && \
	{ $$download 2>/dev/null || { $$sudo apt-get update -qq && $$download; }; } && \
	dpkg --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin && \
	rm prometheus_*.deb
	@mkdir -p $(@D) && touch $@

torture: compiled ## the fault laboratory, which kills and cuts, and its matrix; ROUNDS=n goes on for longer
	@ROUNDS=$(ROUNDS) scripts/two_passes.sh "slow or matrix" 0 $(BIN)/python -m pytest tests/integration $(ARGS)

fuzz: compiled ## input of strangers, made up, for every place where it comes in; CASES=n for each
	@$(BIN)/python -m tests.support.judges
	@$(BIN)/python -m tests.fuzz --cases $(CASES) $(ARGS)

edge: compiled ## edge mode on a real server: store, disconnect, reconnect; the ledgers stay in build/edge
	@$(BIN)/python -m pytest tests/test_edge_store_forward.py tests/test_edge_disconnect_reconnect.py \
	    --basetemp=build/edge $(ARGS)
	@for ledger in build/edge/*[0-9]/edge/ledger; do $(BIN)/syncdaemon verify --sync-ledger-dir "$$ledger" || exit; done

drain: compiled ## how long workers take for a backlog, on a rig of its own (make test-deps first)
	@scripts/measure_backlog_drain.sh --local $(ARGS)

bench: compiled ## the benchmarks, as a Markdown table
	@$(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/.installed-test ## style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy --strict

format: $(VENV)/.installed-test ## put imports and layout in order
	@$(BIN)/ruff check --select I --fix
	@$(BIN)/ruff format

lock: $(VENV)/.installed-deploy ## renew what the image is built from: the newest versions, with hashes
	@export CUSTOM_COMPILE_COMMAND="make lock"; \
	compile="$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host"; \
	$$compile --output-file requirements.lock pyproject.toml && \
	$$compile --output-file requirements-build.lock requirements-build.in

rules: $(VENV)/.installed-dev ## the rules for the Prometheus operator, and the expected sites; SITES names their list
	@$(BIN)/python -m scripts.expected_sites <$(SITES) >$(SITE_RULES)/rules.yaml.tmp && \
	    mv $(SITE_RULES)/rules.yaml.tmp $(SITE_RULES)/rules.yaml || { rm -f $(SITE_RULES)/rules.yaml.tmp; exit 1; }
	@for of in $(RULES) $(SITE_RULES); do \
	    { cat $$of/prometheusrule-head.yaml; sed 's/^./  &/' $$of/rules.yaml; } >$$of/prometheusrule.yaml; \
	done

screenshots: $(VENV)/.installed-dev ## draw the picture of the README anew, from a real run
	@$(BIN)/python -m scripts.make_screenshots

sbom: $(VENV)/.installed-sbom ## write what the image contains, in CycloneDX, into dist/
	@$(BIN)/python -m scripts.make_sbom $(SBOM) $(if $(BASE),--base $(BASE))

image: sbom ## build the image with podman, or ENGINE=docker, its SBOM in dist/; BASE names a base image, ARGS are its own
	@BUILDAH_FORMAT=docker $(ENGINE) build --tag $(IMAGE) --build-arg REVISION=$$(git rev-parse HEAD) \
	    $(if $(BASE),--build-arg BASE=$(BASE)) $(ARGS) .
	@echo "$(IMAGE) is built; $(SBOM) says what it contains"

deb: $(VENV)/.installed-test ## build the Debian package in dist/, for Debian's Python of the version that is used here
	@$(BIN)/python -m scripts.make_deb

release: $(VENV)/.installed-test $(VENV)/.installed-sbom ## all files of a release, with checksums, in dist/; FINAL=1 refuses what is not ready, WITHOUT=image leaves that out
	@$(BIN)/python -m scripts.make_release --engine $(ENGINE) --image $(IMAGE) $(if $(FINAL),--final) \
	    $(addprefix --without ,$(WITHOUT))

compiled: $(VENV)/.installed-test
	@$(BIN)/python -m compileall -q services tests/support

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

# The Debian packages in $(1) that are not there yet. The shell's last word is the recipe's result.
define install_missing
missing=; \
for name in $(1); do \
    dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$name"; \
done; \
if [ -z "$$missing" ]; then echo "$@: all there"; exit 0; fi; \
if ! command -v apt-get >/dev/null; then echo "$@: install these by hand:$$missing" >&2; exit 1; fi; \
echo "$@: installing$$missing"; \
sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
$$sudo apt-get update -qq && \
$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null
endef
