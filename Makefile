# make serve   install the pinned runtime into .venv and start the HTTP service
# make test    install what the tests need as well, and run all of them
# make check   linters and type checker
# make wheel   build the wheel, bundled models included

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: serve test check wheel

serve: $(VENV)/.runtime
	$(BIN)/vinocast serve

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(VENV)/.runtime
	$(PIP) wheel --no-deps --wheel-dir dist .

# pip installs what the lock files pin and nothing else; a stamp makes the second time quick.
$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vinocast needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps --require-hashes -r requirements/runtime.txt
	$(PIP) install --no-deps --editable .
	touch $@

# torch comes first and with its own dependencies, which differ between its builds; the rest comes exactly as pinned.
$(VENV)/.dev: $(VENV)/.runtime requirements/convert.txt requirements/dev.txt
	$(PIP) install torch==2.13.0
	$(PIP) install --no-deps -r requirements/convert.txt -r requirements/dev.txt
	touch $@
