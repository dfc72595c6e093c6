# Everything a developer does, in one place. `make help` lists it.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
HOME_DIR ?= .gatepost
ROUNDS ?= 5
SCENARIOS ?= ABCDEFIL
PEERS ?= gatepost,postfix,postfix-reuse,exim,haraka,opensmtpd
JOBS ?= 2

.PHONY: help run setup setup-dev check test bench crash soak lock clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## the virtual environment, from the lock (done by the other targets when needed)
	@scripts/setup

setup-dev:
	@scripts/setup --dev

run: setup ## start the gateway with a small mail sink, send one message through it, stay up until Ctrl-C
	@exec $(BIN)/python -m gatepost.app.show --home $(HOME_DIR)

check: setup-dev ## format, lint, types, import contract and the fast tests: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -q -n $(JOBS) -m "not live and not crash and not slow and not soak"

test: setup-dev ## every test, with real peers; needs root once, for Debian packages (up to 40 minutes)
	@scripts/test-packages
	$(PYTEST) -q -n $(JOBS) --dist loadfile -m "not soak"

crash: setup-dev ## kill processes 200 times under load and count the mail (by hand, about an hour)
	@scripts/test-packages
	GATEPOST_CRASHES=200 $(PYTEST) -q -s -m crash tests/live

soak: setup-dev ## 30 minutes of load, memory watched (by hand)
	@scripts/test-packages
	GATEPOST_SOAK_MINUTES=30 $(PYTEST) -q -s -m soak tests/live

bench: setup ## compare with Postfix, Exim, Haraka and OpenSMTPD: make bench ROUNDS=5 SCENARIOS=ABCDEFIL PEERS=...
	@scripts/bench-packages
	$(BIN)/python -m bench --rounds $(ROUNDS) --scenarios $(SCENARIOS) --peers $(PEERS)

lock: setup-dev ## renew the locks, keeping versions where they still fit (scripts/lock --upgrade renews all)
	@scripts/lock

clean: ## remove what these targets made, except a home folder
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist bench/out
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf src/*.egg-info
