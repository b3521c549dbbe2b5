# Commands of this repository. Every target sets up what it needs first; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: help setup test lint rehearse lab-up lab-down test-fleet faults bench requirements

help:  ## Lists the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

setup:  ## Builds the toolchain: .venv, the Pulumi CLI and its Python language host (cached)
	@ops/toolchain/setup.sh

lint: setup  ## Linters and type checks alone
	ruff check .
	ruff format --check .
	mypy
	yamllint --strict .
	cd playbooks && ansible-lint --profile production --strict .
	shellcheck scripts/deltacrown-s3-rollback playbooks/roles/log_delivery/files/deltacrown-journal $$(git ls-files '*.sh' .ci/run)
	cutover generate --check

test: lint  ## Linters, unit tests, infrastructure tests on a real Pulumi CLI and an AWS stand-in
	@ops/toolchain/browser.sh >/dev/null
	pytest

rehearse: setup  ## The cutover on this machine with real parts (root; KEEP=1 keeps the lab, STEPS=1 chooses steps)
	@python -m rehearsal $(if $(filter-out 0,$(KEEP)),--keep) $(if $(STEPS),--steps $(STEPS))

lab-up: setup  ## Raises the rehearsal's machines and services, and leaves them up
	@python -m rehearsal.lab up

lab-down: setup  ## Removes what `make rehearse KEEP=1` or `make lab-up` left
	@python -m rehearsal.lab down

test-fleet: setup  ## Tests on booted machines (pytest-testinfra)
	pytest tests/fleet

faults: setup  ## The long fault runs: steps, emergencies and fences with a part broken, 50 kills of a backfill (well over an hour)
	pytest tests/faults

bench: setup  ## Data tools against s5cmd, rclone, aws s3 sync; the emergency against ssh (BENCH="--only marks --quick" looks shortly)
	@ops/toolchain/benchmarks.sh
	@python -m tests.benchmarks $(BENCH)

requirements: setup  ## Pins requirements.in and its siblings anew
	uv pip compile -q --no-header --python-version 3.11 requirements.in -o requirements.txt
	uv pip compile -q --no-header --python-version 3.11 ops/toolchain/aws-stand-in.in -o ops/toolchain/aws-stand-in.txt
	uv pip compile -q --no-header --python-version 3.11 ops/toolchain/benchmarks.in -o ops/toolchain/benchmarks.txt
	uv pip compile -q --no-header --python-version 3.11 -c requirements.txt ops/rehearsal/site/requirements.in -o ops/rehearsal/site/requirements.txt
