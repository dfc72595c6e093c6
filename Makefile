# Everything a developer does, in one place. `make help` lists it.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
HOME_DIR ?= .gatepost
ROUNDS ?= 5
SCENARIOS ?= ABCDEFIL
SECONDS ?= 5
PEERS ?= gatepost,postfix,postfix-reuse,exim,haraka,opensmtpd
JOBS ?= 2
CRASHES ?= 200
MINUTES ?= 30
SEED ?= 0

# Modules are compiled once and kept, whatever the environment says: else every process compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run setup setup-dev check test bench crash soak lock clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## the virtual environment, from the lock (others do it by themselves)
	@scripts/setup

setup-dev:
	@scripts/setup --dev

run: setup ## the gateway and a mail sink, one message sent, up until Ctrl-C
	@exec $(BIN)/python -m gatepost.app.show --home $(HOME_DIR)

check: setup-dev ## format, lint, types, imports, fast tests: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -q -n $(JOBS) -m "not live and not crash and not slow and not soak"

test: setup-dev ## every test, with real peers; needs root (up to 40 minutes)
	@scripts/test-packages
	$(PYTEST) -q -n $(JOBS) --dist loadfile -m "not soak"

crash: setup-dev ## 200 kills under load, mail counted (by hand, about 10 minutes): make crash CRASHES=200 SEED=1
	@scripts/test-packages
	GATEPOST_CRASHES=$(CRASHES) GATEPOST_SEED=$(SEED) $(PYTEST) -q -s -m crash tests/live

soak: setup-dev ## 30 minutes of load, memory watched (by hand): make soak MINUTES=30
	@scripts/test-packages
	GATEPOST_SOAK_MINUTES=$(MINUTES) GATEPOST_SEED=$(SEED) $(PYTEST) -q -s -m soak tests/live

bench: setup ## beside other mail servers; ROUNDS=5 SECONDS=5 SCENARIOS=ABCDEFIL PEERS=...
	@scripts/bench-packages
	$(BIN)/python -m bench --rounds $(ROUNDS) --seconds $(SECONDS) --scenarios $(SCENARIOS) --peers $(PEERS)

lock: setup-dev ## renew the locks (scripts/lock --upgrade takes newer versions)
	@scripts/lock

clean: ## remove what these targets made, except a home folder
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist bench/out
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf src/*.egg-info
