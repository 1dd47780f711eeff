# Everything goes into .venv; Python 3.11 or newer and make are all that must be there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The newcomer's two commands are `make run` and `make test`.
.PHONY: help run test check format fuzz soak bench clean

help:
	@echo "make run     the whole thing on this machine, with a simulated network (Ctrl-C ends it)"
	@echo "make test    every test, on SQLite and on a real PostgreSQL"
	@echo "make check   linting, formatting and types"
	@echo "make format  put the code into its form"
	@echo "make fuzz    a few minutes of fuzzing of the push route's verification and parsers"
	@echo "make soak    kills, outages, overload and memory under load, on both databases, with the counts they came to"
	@echo "make bench   pushes per second beside bare echoes, into benchmarks/RESULTS.md"
	@echo "make clean   remove .venv and caches; data directories stay"

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Set PYTHON=… to another one."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: $(INSTALLED)
	@$(BIN)/receiver demo $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 4 $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python tests/fuzz/fuzz_push.py -max_total_time=180 $(ARGS)

soak: $(INSTALLED)
	$(BIN)/python -m tests.soak.crash $(ARGS)
	$(BIN)/python -m tests.soak.outage $(ARGS)
	$(BIN)/python -m tests.soak.overload $(ARGS)
	$(BIN)/python -m tests.soak.memory $(ARGS)

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.push $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
