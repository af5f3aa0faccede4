# Two commands do everything: make book, make test.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Chapters executed at a time.
JOBS ?= 2

help:  ## list every target
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "make %-12s %s\n", $$1, $$2}'

env:  ## make .venv with the locked packages (every other target calls this first)
	@[ ! -f $(STAMP) ] || $(BIN)/python scripts/check_env.py || { if [ $$? = 3 ]; then rm -rf $(VENV); fi; rm -f $(STAMP); }
	@$(MAKE) --no-print-directory --silent $(STAMP)

# A half-made environment has no stamp and is completed; one that is not usable at all is made anew. pip draws its bars in a terminal alone.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "making $(VENV)"; bash scripts/make_venv.sh $(PYTHON) $(VENV); }
	@echo "installing the locked packages into $(VENV) (some gigabytes, some minutes the first time)"
	@set -o pipefail; install="$(BIN)/python -m pip install -r requirements.lock"; echo "$$install"; \
	if [ -t 1 ]; then $$install; else $$install | { grep --line-buffered -v '^Requirement already satisfied' || true; }; fi
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@$(BIN)/python scripts/system_libraries.py
	@touch $@

book: env  ## execute every chapter (quick profile) and publish the book under _build/html
	$(BIN)/fer-teach run --jobs $(JOBS)
	$(BIN)/fer-teach publish

test: env chromium book  ## all tests: code, chapters' proofs, baselines, the book in a browser
	$(BIN)/fer-teach notebooks --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell README.md CONTRIBUTING.md book fer_teach notebooks/*.py tests claims
	$(BIN)/fer-teach regress
	$(BIN)/python -m pytest $(PYTEST)

chromium: env  ## find a Chromium for the browser tests, or install one
	$(BIN)/python tests/browser/chromium.py

notebooks: env  ## write the .ipynb beside each chapter, as Colab opens it
	$(BIN)/fer-teach notebooks

format: env  ## bring all code into the common form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: env  ## resolve requirements.lock anew from pyproject.toml
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/python -m piptools compile --quiet --extra test --strip-extras --allow-unsafe --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host --no-emit-options --no-header --no-annotate --upgrade --constraint constraints.txt \
	  --output-file requirements.lock pyproject.toml
	sed -i -E '/^(nvidia-|cuda-|triton)/s/$$/ ; sys_platform == "linux" and platform_machine == "x86_64"/' requirements.lock

vendor: env  ## fetch MathJax, fonts and icons of book/_vendor anew
	$(BIN)/python book/_vendor/refresh.py

clean:  ## remove everything that a build leaves (the environment stays)
	rm -rf _build

.PHONY: help env book test chromium notebooks format lock vendor clean
