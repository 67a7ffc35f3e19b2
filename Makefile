# make search   a first search on real images, in minutes, with nothing but Python >= 3.11 on the machine
# make test     every test, as many at once as there are cores, four at most
# make check    what a change must pass: style, types, the one way of imports, doctests
# make docs     the documentation site, in site/, any warning an error; site/index.html opens without a server or a network
# make gallery  runs the searches and trainings of docs/gallery.md, and makes its pages and pictures; needs Chromium
# make bench    two quick ones of the measurements that the documentation quotes: startup and cost
# make bench-strategies  regret of the strategies after 25, 50, 100 and 200 trials on two tables of trainings, beside others'
#                        searches; PEERS=python-of-theirs adds Syne Tune's and NNI's (see nas/peers/server.py); hours
#
# Everything is installed into .venv, once; PYTHON=python3.12 takes another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCHMARKS := startup cost
PACKAGES := nas studies strategies estimators searchspaces

.PHONY: search test check docs gallery bench bench-strategies clean
.SECONDARY:

search: $(VENV)/.has-core
	$(BIN)/nas search --space mbconv --budget 400M --data digits --trials 60 --time 8m --name first

test: $(VENV)/.has-test
	$(BIN)/python -m pytest -n auto --maxprocesses 4

check: $(VENV)/.has-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest $(PACKAGES)

docs: $(VENV)/.has-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

gallery: $(VENV)/.has-dev
	$(BIN)/python -m benchmarks.gallery

bench: $(VENV)/.has-dev
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

bench-strategies: $(VENV)/.has-dev
	for problem in macro fashion; do \
	    $(BIN)/python -m benchmarks.regret --problem $$problem --results regret.jsonl --jobs 2 $(if $(PEERS),--peers $(PEERS)) \
	        || exit 1; \
	done

clean:
	rm -rf $(VENV) site gallery-runs docs/gallery/*.html .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# `core` is what a user needs; the others are the extras of pyproject.toml.
$(VENV)/.has-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.$(if $(filter core,$*),,[$*])'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "nas needs Python 3.11 or newer, and $(PYTHON) is %d.%d; give another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
