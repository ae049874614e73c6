# The commands of the book. Only Python 3.11 to 3.13 (with venv), make and a package index are needed.

# the first that starts, is of a suitable version and can make environments
SUITABLE := import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  $$name -c "$(SUITABLE)" 2>/dev/null && { echo $$name; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
UV ?= uv

.DEFAULT_GOAL := help
.PHONY: help book test test-slow numerics notebooks tables bench lab lock clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s%s\n", $$1, $$2}' Makefile

book: $(READY)  ## run the notebooks that are out of date, render the book
	@$(BIN)/python book/tools/build.py book

# two processes: the notebooks in their order in one, the files of tests in the other; TensorFlow takes seconds to import
test: $(READY)  ## run all tests: units, every committed notebook, the strict build, lint, types
	$(BIN)/pytest -m "not slow" -n 2
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-slow: $(READY) numerics  ## run what takes longest: sweeps killed many times, thousands of runs, and numerics
	$(BIN)/pytest -m slow tests

numerics: $(READY)  ## measure how far results move with the processor's rounding (SAVE=1: keep the tolerances)
	@$(BIN)/python book/tools/numerics.py $(if $(SAVE),--save)

notebooks: $(READY)  ## run the notebooks and save them with their outputs (ONLY="name name" for some)
	@$(BIN)/python book/tools/build.py notebooks $(ONLY)

tables: $(READY)  ## make a committed table anew (ONLY=name; alone it lists them)
	@$(BIN)/python book/tools/tables.py $(ONLY)

# PyTorch is only compared with, so it has an environment of its own
bench: $(READY)  ## measure the speed of training, importing and sweeps; half an hour, alone on the machine
	@test -d _build/torch || { $(BIN)/python -m venv _build/torch && _build/torch/bin/pip install -q numpy torch==2.13.0; }
	@$(BIN)/python book/tools/bench.py
	@$(BIN)/python book/tools/bench_import.py
	@$(BIN)/python book/tools/bench_sweep.py

lab: $(READY)  ## open JupyterLab on the notebooks
	@$(BIN)/jupyter lab notebooks

lock:  ## renew requirements.lock and environment.yml from pyproject.toml (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv, or make UV=/path/to/uv lock"; exit 1; }
	$(UV) pip compile pyproject.toml --extra test --universal --python-version 3.11 --generate-hashes --quiet \
	  --custom-compile-command "make lock" -o requirements.lock
	"$(PYTHON)" book/tools/environment.py conda

clean:  ## remove what was built; the environment stays
	rm -rf _build

# stamped: done again only when the lock or the project's own description changed
$(READY): requirements.lock pyproject.toml
	@python="$(PYTHON)"; test -n "$$python" || { echo "no suitable Python found: install Python 3.11, 3.12 or" \
	  "3.13 with venv (on Debian and Ubuntu: apt-get install python3-venv)"; exit 1; }; \
	"$$python" book/tools/environment.py setup
	@touch $@
