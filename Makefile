# make demo   creates .venv, installs, and runs the whole job on real product photos
# make test   does all the set-up and runs the tests
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_DOCS := $(VENV)/.installed-docs
EXTRAS := train export openvino lite heic clip fastervit search words kaggle huggingface s3 gs az track
COMMA := ,
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)

# Nothing needs make: CONTRIBUTING.md has the same commands without it.
.PHONY: help demo test test-slow test-fuzz test-all test-windows test-alike check check-wheels check-serving audit-dependencies sbom format docs bench clean

help:
	@echo "make demo       install, then audit, train, evaluate and predict on real product photos"
	@echo "make test       install, then the tests (some minutes)"
	@echo "make test-slow  the long tests; make test-all: both"
	@echo "make test-fuzz  2,000 generated inputs through every verb, 20,000 broken images, 18,000 other broken files (a part of make test-slow)"
	@echo "make test-windows  the tests, and the whole job as commands, with Windows' rules imposed"
	@echo "make test-alike the tests that make test-windows leaves out, since they are the same there"
	@echo "make check      ruff, mypy --strict, import-linter"
	@echo "make check-wheels  whether all dependencies are wheels on Windows and macOS"
	@echo "make check-serving whether a plain installation, without torch, serves an exported model"
	@echo "make audit-dependencies  whether the newest or the lowest versions of dependencies have published holes"
	@echo "make sbom       build/sbom.json: the bill of materials of shopsight with all extras"
	@echo "make docs       write docs/cli.md anew from the commands, and the site in build/site"
	@echo "make bench      the benchmarks of docs/benchmarks.md; BENCH=\"--groceries FOLDER\" gives some their data"
	@echo "make clean      remove .venv and caches"

demo: $(INSTALLED)
	$(BIN)/shopsight demo

test: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile

test-slow: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q -m "slow and not network and not gpu"

test-fuzz: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 -m slow tests/fuzz

test-all: test test-slow

# Arithmetic, and what reads the sources alone: nothing of it is another thing on Windows.
ALIKE := metrics models charts words labels profiling test_brackets.py test_docs.py test_encoding.py \
	test_file_writes.py test_floors.py test_import_side_effects.py test_names.py test_no_pickle.py \
	test_words.py serve/test_page.py serve/test_review.py

test-windows: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile -p tests.windows \
		$(addprefix --ignore=tests/,$(ALIKE))
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 -m slow tests/test_windows_commands.py

# What test-windows leaves out: with it, every test has run once.
test-alike: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile $(addprefix tests/,$(ALIKE))

check: $(INSTALLED_DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check-serving: $(INSTALLED_DEV)
	$(BIN)/python .ci/check_serving.py build/serving-venv
	rm -rf build/serving-venv

check-wheels: $(INSTALLED_DEV)
	$(BIN)/python .ci/check_wheels.py

audit-dependencies: $(INSTALLED_DEV)
	mkdir -p build
	$(BIN)/python -m uv pip compile --quiet --all-extras pyproject.toml --output-file build/newest.txt
	$(BIN)/python -m uv pip compile --quiet --all-extras pyproject.toml --output-file build/lowest.txt --resolution lowest-direct
	$(BIN)/python -m uv tool run pip-audit --strict --no-deps --disable-pip --requirement build/newest.txt
	$(BIN)/python -m uv tool run pip-audit --strict --no-deps --disable-pip --requirement build/lowest.txt

# In an environment of its own, as the tests run without most extras.
sbom:
	bash .ci/make-venv build/sbom-venv
	build/sbom-venv/bin/python -m pip install --quiet ".[$(subst $(SPACE),$(COMMA),$(EXTRAS))]"
	build/sbom-venv/bin/python .ci/sbom.py build/sbom.json --extras all --hashes

format: $(INSTALLED_DEV)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(INSTALLED_DOCS)
	$(BIN)/python -m shopsight.cli.reference docs/cli.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

bench: $(INSTALLED_DEV)
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	$(BIN)/python bench/run_all.py $(BENCH)

# The stamps are newer than pyproject.toml when what it asks for is installed.
$(BIN)/python:
	bash .ci/make-venv $(VENV)

$(INSTALLED): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[train,export,openvino,serve,search,words]"
	touch $@

$(INSTALLED_DEV): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[dev]"
	touch $@ $(INSTALLED)

$(INSTALLED_DOCS): $(INSTALLED_DEV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
