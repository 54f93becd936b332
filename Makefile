# make serve   install the pinned runtime into .venv and start the HTTP service
# make test    install what the tests need as well, and run all of them, three modules at a time (TEST_PROCESSES);
#              TESTS=tests/room runs those of one room
# make fast    the same without what takes long, some 80 s on two idle cores: for before each commit
# make check   linters, type checker and the directions of imports (pyproject.toml, tool.importlinter)
# make coverage   all tests, half as long again, and what of the package none of them reaches; TESTS as above
# make fuzz    the fuzzers of tests/fuzz for minutes: FUZZ_LINES, FUZZ_REQUESTS and FUZZ_SECONDS say how long
# make wheel   build the wheel, bundled models included
# make sbom    list what the runtime is made of, with hashes, as CycloneDX: dist/vinocast-VERSION.cdx.json
# make licences   fail where the licence of what the runtime, or the extras and the tests, are made of is not allowed
# make audit   ask for advisories against every pin, and fail where there is one; PIP_AUDIT_OSV_URL is whom to ask

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The tools of sbom, licences and audit look at what is installed, and so are not beside it.
SUPPLY := .venv-supply
DIST := dist

# Rooms whose tests need torch, a C++ compiler or minutes. Elsewhere such a test, or a whole module by its pytestmark, is
# marked pytest.mark.slow (pyproject.toml says when); what has no mark is run by both.
SLOW_ROOMS := deploy export scripts training measure/tune

.PHONY: serve fast test check coverage fuzz wheel sbom licences audit venv

serve: $(VENV)/.runtime
	$(BIN)/vinocast serve

fast: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow" $(SLOW_ROOMS:%=--ignore=tests/%)

# Most of a test is to wait for a process; a module of tests is one's own, as its services are shared.
TEST_PROCESSES ?= 3

test: $(VENV)/.dev $(SUPPLY)/.tools
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile $(TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

coverage: $(VENV)/.dev
	rm -rf .coverage
	$(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage report --show-missing --skip-covered

FUZZ_LINES ?= 1000000
FUZZ_REQUESTS ?= 200000
FUZZ_SECONDS ?= 60
FUZZ := PYTHONPATH=tests $(BIN)/python -m fuzz

fuzz: $(VENV)/.fuzz
	$(FUZZ) json
	$(FUZZ) decoders --seconds $(FUZZ_SECONDS)
	$(FUZZ) schema
	$(FUZZ) lines --count $(FUZZ_LINES)
	$(FUZZ) requests --count $(FUZZ_REQUESTS)

wheel: $(VENV)/.runtime
	$(PIP) wheel --no-deps --wheel-dir $(DIST) .

VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' service/vinocast/__init__.py)

# The version is not in pyproject.toml, and a lock file does not say who needs whom, of which the tool warns.
sbom: $(SUPPLY)/.tools
	@mkdir -p $(DIST)
	@sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml > $(SUPPLY)/pyproject.toml
	$(SUPPLY)/bin/python -W ignore::UserWarning -m cyclonedx_py requirements requirements/runtime.txt \
	  --pyproject $(SUPPLY)/pyproject.toml --output-reproducible --output-file $(DIST)/vinocast-$(VERSION).cdx.json

# Files of licences, one a line, as the packages name them.
LICENCES := requirements/licences
# These name none: their files of a licence were read, and are BSD-2-Clause and MIT. A new version must be read anew.
LICENCE_READ := ta-lib:0.8.2 pysimdjson:7.0.2

licences: $(VENV)/.dev $(SUPPLY)/.tools
	@check() { \
	  echo "$$1:"; shift; \
	  $(SUPPLY)/bin/pip-licenses --python $(BIN)/python --with-system --ignore-packages $(LICENCE_READ) \
	    --allow-only "$$(cat "$$@" | grep -v '^\#' | paste -sd ';')" --packages $$names; }; \
	names() { sed -nE 's/^([A-Za-z0-9._-]+)==.*/\1/p' "$$@" | sort -u; }; \
	names="$$(names requirements/runtime.txt)" && check "the runtime" $(LICENCES)/runtime.txt && \
	names="$$(names requirements/convert.txt requirements/dev.txt)" && \
	check "the extras and the tests" $(LICENCES)/runtime.txt $(LICENCES)/extras.txt && \
	echo "read by hand: $(LICENCE_READ)"

# Each pin once, whichever Python it is for; a name that has several is in as many files, as pip-audit takes one of each.
PINS := $(SUPPLY)/pins
audit: export PIP_AUDIT_VULNERABILITY_SERVICE ?= osv
audit: $(SUPPLY)/.tools
	@rm -rf $(PINS) && mkdir $(PINS)
	@sed -nE 's/^([A-Za-z0-9._-]+==[^ ;\]+).*/\1/p' requirements/*.txt | sort -u | tee $(PINS)/all | \
	  awk -F== '{ file = "$(PINS)/" ++seen[$$1] ".txt"; print > file }'
	@found=0; for pins in $(PINS)/*.txt; do \
	  $(SUPPLY)/bin/pip-audit --requirement $$pins --no-deps --disable-pip --strict --progress-spinner off \
	    --cache-dir $(PINS)/cache 2> $(PINS)/log || { \
	    found=1; grep '^Found ' $(PINS)/log >&2 || { \
	      echo "nothing is known of the pins, as no advisories were to be had ($$(tail -n 1 $(PINS)/log)):" \
	        "PIP_AUDIT_OSV_URL names a mirror of OSV, PIP_AUDIT_VULNERABILITY_SERVICE=pypi another service" >&2; exit 2; }; }; \
	done; [ $$found = 0 ] && echo "$$(wc -l < $(PINS)/all) pins were asked for: no advisory is known"

# A Python with pip in $(VENV). Debian's python3 has no ensurepip without python3-venv, and leaves a folder without pip
# behind where it is asked for one: what has no pip is made anew.
venv:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "vinocast needs $(PYTHON), which is not installed (Debian, Ubuntu: apt install python3 python3-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vinocast needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make a virtual environment with pip: install its venv package" \
	      "(Debian, Ubuntu: apt install $$($(PYTHON) -c 'import sys; print("python3-venv python%d.%d-venv" % sys.version_info[:2])'))" >&2; exit 1; }; \
	  echo "making a virtual environment in $(VENV) ..."; \
	  $(PYTHON) -m venv --clear $(VENV); }

# pip installs what the lock files pin and nothing else; a stamp makes the second time quick.
$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	@$(MAKE) --no-print-directory venv
	@echo "installing the pinned runtime into $(VENV), some 20 s ..."
	$(PIP) install --no-deps --require-hashes -r requirements/runtime.txt
	$(PIP) install --no-deps --editable .
	touch $@

# torch comes first and with its own dependencies, which differ between its builds; the rest comes exactly as pinned.
$(VENV)/.dev: $(VENV)/.runtime requirements/convert.txt requirements/dev.txt
	@echo "installing torch and what the tests need into $(VENV), a few minutes ..."
	$(PIP) install torch==2.13.0
	$(PIP) install --no-deps -r requirements/convert.txt -r requirements/dev.txt
	touch $@

$(SUPPLY)/.tools: requirements/supply.txt
	@$(MAKE) --no-print-directory venv VENV=$(SUPPLY)
	@echo "installing the tools of sbom, licences and audit into $(SUPPLY), some 10 s ..."
	$(PIP:$(BIN)/%=$(SUPPLY)/bin/%) install --no-deps -r requirements/supply.txt
	touch $@

$(VENV)/.fuzz: $(VENV)/.dev requirements/fuzz.txt
	$(PIP) install --no-deps -r requirements/fuzz.txt
	touch $@
