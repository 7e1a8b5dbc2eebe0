# `make` explains the targets. `run`, `test` and `train` install what they need into .venv, once.
PYTHON ?= python3
VENV := .venv
JOBS ?= 2
CONFIG ?= config.yaml
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install
PYTEST := $(VENV)/bin/python -m pytest
ENGINE ?= podman
DIST ?= dist
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' daemon/__init__.py)
UV := build/uv/bin/uv
LOCK := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header

.PHONY: help run train lock check lint test torture bench system-test docs man release artefacts

help:
	@echo 'make run          install what reading needs (430 MB), then watch inbox/ until Ctrl-C;'
	@echo '                  CONFIG=../digits/config.yaml takes other settings'
	@echo 'make check        install everything (3 GB), then lint, check types, run the quick tests'
	@echo 'make test         run all tests; as root on Debian it installs the programs they need'
	@echo 'make train        install everything, then build a model; TRAIN="--epochs 10" passes options'
	@echo 'make torture      kill, flood and fuzz digitd and its disk calls for 30 minutes'
	@echo 'make bench        measure the speed for 10 minutes'
	@echo 'make system-test  test the systemd units in a container, as root'
	@echo 'make docs         make the documentation as a site in build/docs/, and the man pages'
	@echo 'make release      run all tests, then put the wheel, the image and the notes of this version'
	@echo '                  into dist/; ENGINE=docker builds the image with Docker'
	@echo 'make lock         update the lock files after a change in pyproject.toml; OPTIONS=--upgrade'
	@echo '                  takes the newest versions'

run: $(VENV)/.installed
	@echo 'Starting digitd on $(CONFIG): drop digit1.png into inbox/, find the answers in outbox/.'
	@echo 'For its other commands, in a second terminal: source $(VENV)/bin/activate'
	@exec $(VENV)/bin/digitd run --config '$(CONFIG)'

train: $(VENV)/.installed-dev
	@echo 'Starting `digitd train $(TRAIN)`. Without options it takes two hours on two cores with'
	@echo 'AVX-512, and four without; `make train TRAIN="$(strip $(TRAIN) --resume)"` continues after an'
	@echo 'interruption. docs/training.md has the options of the shipped model.'
	@exec $(VENV)/bin/digitd train $(TRAIN)

# requirements-dev.lock is solved first, so that requirements.lock has the same versions. sed removes
# the markers of [tool.uv] environments, which uv writes into every line.
lock: $(UV)
	$(LOCK) $(OPTIONS) --extra train --extra cluster --extra dev -o requirements-dev.lock
	$(LOCK) -c requirements-dev.lock -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--group docs $(OPTIONS) -o requirements-docs.lock
	sed -i -E "s/python_full_version < '3.14' and //; s/ (;|and) sys_platform == 'linux'//" \
		requirements.lock requirements-dev.lock requirements-docs.lock

# What finds most mistakes, for the daily loop: no test that starts a process.
check: lint
	$(PYTEST) -n $(JOBS) -m 'not serial' --no-processes -r fE --durations=0 --durations-min=5

# The tests of CI. Two calls, because some tests must run while no other does.
test: lint
	@$(VENV)/bin/python -m support.programs
	$(PYTEST) -n $(JOBS) --dist worksteal -m 'not serial'
	$(PYTEST) -m serial

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

# The long runs: killed 200 times, flooded, some days in minutes, 200 failing calls, fuzzed 100,000
# times; 30 minutes, outside `make test`.
torture: $(VENV)/.installed-dev
	$(VENV)/bin/python -m tests.torture
	$(VENV)/bin/python -m tests.torture --real --kills 10 --files 300
	$(VENV)/bin/python -m tests.torture_rereads
	$(VENV)/bin/python -m tests.torture_adoptions
	$(VENV)/bin/python -m tests.torture_learning --kills 6
	$(VENV)/bin/python -m tests.flood
	$(VENV)/bin/python -m tests.soak --files 200000
	$(VENV)/bin/python -m tests.faults
	$(VENV)/bin/python -m tests.fuzz 2>/dev/null

# Ten minutes; writes benchmarks/results.md and docs/bench.png.
bench: $(VENV)/.installed-dev
	$(VENV)/bin/python -m benchmarks.bench
	$(VENV)/bin/python -m benchmarks.review
	$(VENV)/bin/python -m benchmarks.limits

# Boots a real systemd with digitd installed as the README says, and builds and runs the container
# image. Needs root, debootstrap and systemd-nspawn (apt-get install debootstrap systemd-container
# xfsprogs btrfs-progs), for the image podman and runc, and to run it with Docker, too, docker.io and
# docker-compose; 7 GB under build/, kept.
system-test: $(VENV)/.installed-dev
	tests/system/build_root.sh build/system-test
	tests/system/build_image.sh build/system-test/image
	$(VENV)/bin/python -m pytest tests/system -vv --log-level=DEBUG \
		-o log_cli=true -o log_cli_level=INFO -o log_cli_format='%(message)s'

release:
	@test -z "$$(git status --porcelain)" || { echo 'make release: commit your changes first'; exit 1; }
	$(MAKE) test docs
	@test -z "$$(git status --porcelain)" || { echo 'make release: commit docs/man first'; exit 1; }
	$(MAKE) artefacts

# The version is the one in daemon/__init__.py; its notes are its section of CHANGELOG.md.
# compose.yaml takes the image without a version.
artefacts: $(VENV)/.installed
	rm -rf '$(DIST)' && mkdir -p '$(DIST)'
	sed -n '/^## $(subst .,\.,$(VERSION))\b/,/^## /{/^## /!p}' CHANGELOG.md > '$(DIST)/notes.md'
	@test -s '$(DIST)/notes.md' || { echo 'make release: CHANGELOG.md has no section $(VERSION)'; exit 1; }
	$(VENV)/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir '$(DIST)' .
	$(ENGINE) build --file Containerfile --tag localhost/digitd:$(VERSION) --tag localhost/digitd .
	$(ENGINE) save --output '$(DIST)/digitd-$(VERSION)-image.tar' \
		localhost/digitd:$(VERSION) localhost/digitd:latest
	cd '$(DIST)' && sha256sum -- * > SHA256SUMS

docs: man build/mkdocs/.installed
	$(VENV)/bin/python -m support.manual site build/site
	NO_MKDOCS_2_WARNING=1 build/mkdocs/bin/mkdocs build --quiet --clean
	@echo 'Open build/docs/index.html.'

# docs/man is in git, because the wheel has these pages.
man: $(VENV)/.installed
	$(VENV)/bin/python -m support.manual man docs/man

build/mkdocs/.installed: requirements-docs.lock
	$(PYTHON) -m venv build/mkdocs
	build/mkdocs/bin/python -m pip --disable-pip-version-check install --quiet \
		--require-hashes -r requirements-docs.lock
	@touch $@

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "digitd needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# Another version of uv may write the locks differently.
$(UV):
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip --disable-pip-version-check install --quiet uv==0.13.9
