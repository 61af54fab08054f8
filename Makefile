# make run          set up .venv, then start the demo: an upstream, the built-in plugins, three routes
# make test         the default test suite
# make lint         ruff, mypy, and our C with -Wconversion
# make bench        every benchmark this machine allows     make bench-smoke   do they still run
# make soak         good and hostile plugins, load, reloads: is memory flat?     MINUTES=30 by default
#                   ARGS=--helpers: they fail in turn instead
# make plugins      rebuild the built-in plugins            make dist          sdist and wheel, in dist/
#
# ARGS="..." goes to the command: make run ARGS="--help", make test ARGS="-k utf8".

VENV ?= .venv
ARGS ?=
MINUTES ?= 30
# The first Python that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done; echo python3)
PY = $(VENV)/bin/python
PIP = $(PY) -m pip --quiet --disable-pip-version-check
EXTENSION = blitz/_native.abi3.so
NATIVE = $(wildcard native/*.c native/*.h native/*.def) native/build.py
C_WARNINGS = -std=gnu11 -O2 -Wall -Wextra -Wconversion -Werror

.PHONY: run test lint lint-native bench bench-smoke soak plugins dist clean

run: $(VENV)/.run $(EXTENSION)
	$(VENV)/bin/blitz demo $(ARGS)

test: $(VENV)/.dev $(EXTENSION)
	$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.dev lint-native
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

lint-native:
	@for file in native/*.c; do $(CC) $(C_WARNINGS) -c -o /dev/null $$file || exit 1; done

bench: $(VENV)/.dev $(EXTENSION)
	$(PY) -m benchmarks $(ARGS)

bench-smoke: $(VENV)/.dev $(EXTENSION)
	$(PY) -m benchmarks --smoke $(ARGS)

soak: $(VENV)/.dev $(EXTENSION)
	$(PY) -m tests.soak --minutes $(MINUTES) $(ARGS)

plugins: $(VENV)/.made
	$(PY) plugins/build.py $(ARGS)

# A source distribution, and the wheel that it builds.
dist: $(VENV)/.made
	$(PIP) install build
	$(PY) -m build --outdir dist .

$(VENV)/.made:
	@sh infra/check-tools.sh $(PYTHON) $(firstword $(CC))
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "setuptools>=77" "cffi>=2.0"
	@touch $@
$(VENV)/.run: pyproject.toml setup.py | $(VENV)/.made
	$(PIP) install --no-build-isolation -e ".[watch,symbols]"
	@touch $@
$(VENV)/.dev: $(VENV)/.run
	$(PIP) install --no-build-isolation -e ".[test,lint]"
	@touch $@
$(EXTENSION): $(NATIVE) setup.py | $(VENV)/.run
	$(PY) setup.py -q build_ext --inplace
	@touch $@

clean:
	rm -rf build dist *.egg-info $(EXTENSION)
	$(MAKE) -s -C native/test clean
