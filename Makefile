# make lab    everything from a bare Debian machine to a cluster with the demo in it
# make test   the same set-up, then every test
# make test-debian   the tests of the kernel side on Debian's kernel, in QEMU
# make check  formatting, lint, types, layers
# make bench  the numbers that the documentation quotes
# make gen    makes generated files anew
# make clean  removes what was built

VENV := .venv
BIN  := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup lab test test-long test-debian check bench gen clean

help:
	@sed -n 's/^# //p' Makefile

setup:
	@tools/setup $(VENV)

lab: setup
	@$(BIN)/cilia lab up --demo starwars

test: setup
	@$(BIN)/python -m pytest tests

test-long: setup
	@CILIA_LONG_TESTS=1 $(BIN)/python -m pytest tests

test-debian: setup
	@tools/debian_kernel --seconds 3600 -- $(BIN)/python -m pytest tests/kernel -q

check: setup
	@tools/check $(BIN)

bench: setup
	@$(BIN)/python -m bench

gen: setup
	@$(BIN)/python tools/libbpf.py
	@$(BIN)/python tools/hubble_proto.py
	@$(BIN)/python tools/layout_dump.py
	@$(BIN)/python tools/verifier_record.py
	@$(BIN)/python tools/bench_page.py
	@$(BIN)/python tools/metrics_page.py
	@$(BIN)/python tools/dashboards.py

clean:
	@rm -rf build dist .make src/cilia.egg-info
	@$(MAKE) -s -C bpf clean
