# `make run` installs and starts digitd on ./config.yaml; `make test` installs and checks everything.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install

.PHONY: run test torture bench system-test

run: $(VENV)/.installed
	@echo "Starting digitd on config.yaml: drop digit1.png into inbox/, find the answers in outbox/."
	@exec $(VENV)/bin/digitd run --config config.yaml

test: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest

# The long runs: killed 200 times, flooded, some days in minutes, fuzzed 100,000 times; 20 minutes,
# outside `make test`.
torture: $(VENV)/.installed-dev
	$(VENV)/bin/python -m tests.torture
	$(VENV)/bin/python -m tests.torture --real --kills 10 --files 300
	$(VENV)/bin/python -m tests.flood
	$(VENV)/bin/python -m tests.soak --files 200000
	$(VENV)/bin/python -m tests.fuzz 2>/dev/null

# Ten minutes; writes benchmarks/results.md and docs/bench.png.
bench: $(VENV)/.installed-dev
	$(VENV)/bin/python -m benchmarks.bench
	$(VENV)/bin/python -m benchmarks.review

# Boots a real systemd with digitd installed as the README says. Needs root, debootstrap and
# systemd-nspawn (apt-get install debootstrap systemd-container); 4 GB under build/, kept.
system-test: $(VENV)/.installed-dev
	tests/system/build_root.sh build/system-test
	$(VENV)/bin/python -m pytest tests/system -vv --log-level=DEBUG \
		-o log_cli=true -o log_cli_level=INFO -o log_cli_format='%(message)s'

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "digitd needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
