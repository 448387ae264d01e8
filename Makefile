# `make demo` and `make test` set everything up by themselves on a fresh machine.
BIN := .venv/bin
READY := .venv/.ready
PYTEST := $(BIN)/python -m pytest -q --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-plain test-checked test-quick test-browser test-lowest fuzz bench docs lint clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(READY) ## Create .venv and install the package with its pinned dependencies

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { \
		for py in python3.11 python3; do \
			$$py -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; py=; \
		done; \
		test "$$py" || { echo 'Python 3.11 or newer with venv and pip is needed: install it, then run make again.' >&2; exit 1; }; \
		echo 'Setting up .venv (once, a few minutes)'; \
		$$py -m venv .venv; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## Run the main job and quick audits of two real pipelines; reports in runs/demo and its folders
	@$(BIN)/orthoscope demo --workers 2 --out runs/demo
	@$(BIN)/orthoscope audit --quick --out runs/demo/audit
	@$(BIN)/orthoscope audit --quick --model glyphs --images-per-prompt 6 --steps 15 --out runs/demo/audit-glyphs
	@printf '%s\n' '' 'Reports: runs/demo/report.html, runs/demo/audit/report.html, runs/demo/audit-glyphs/report.html' \
		'Your pipeline:  $(BIN)/orthoscope audit --model PATH_OR_HUB_ID --prompts FILE --schedules scale:7.5' \
		'Your method:    $(BIN)/python examples/method_author.py' \
		'Your theory:    $(BIN)/orthoscope predict --rate 0.2 --std 0.5 --strength 3'

test: $(READY) ## Lint, type check and run all tests
	@$(MAKE) --no-print-directory --jobs 2 test-plain test-checked

# Threads of linear algebra that wait for a core that others have take many times as long.
test-plain test-checked test-quick: export OMP_NUM_THREADS := 1

# Two lanes that keep two cores busy to the end. The first, with style, types and the long tests, has a core of its own
# while it lasts; the second, in processes that check types and shapes of all calls, has what is left: hence `nice`.
test-plain: lint
	@$(PYTEST) -n 1 -m 'not checked and not browser'

test-checked: $(READY)
	@nice $(PYTEST) -n 2 -m checked --jaxtyping-packages=orthoscope,tests.check

test-quick: lint ## The same without the slow tests
	@$(PYTEST) -n 2 -m 'not slow and not browser'

test-browser: $(READY) ## Look at reports and documentation in Chromium: phone, dark, paper, formulas, search
	@$(BIN)/python -m pytest -q -rs -p no:xdist -m browser tests/browser

test-lowest: .venv-lowest/.ready ## Run the core tests with the lowest versions that pyproject.toml claims (torch keeps its pin)
	@.venv-lowest/bin/python -m pytest -q -n 2 -m 'not slow and not browser' -o filterwarnings=default

.venv-lowest/.ready: pyproject.toml constraints.txt .ci/lowest.py $(READY)
	@echo 'Setting up .venv-lowest (once, a few minutes)'
	@$(BIN)/python -m venv .venv-lowest
	@$(BIN)/python .ci/lowest.py scale dev > .venv-lowest/lowest.txt
	@.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-lowest/lowest.txt -e '.[scale]' \
		beartype hypothesis psutil pytest pytest-xdist
	@touch $@

fuzz: $(READY) ## Run 5,000 hostile command lines and files through every verb
	@$(BIN)/python -m pytest -q -s -p no:xdist tests/cli/test_fuzz.py --hypothesis-profile=fuzz

bench: $(READY) ## Measure speed against textbook implementations
	@$(BIN)/python -m benchmarks

docs: $(READY) ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'Documentation: site/index.html'

lint: $(READY) ## Check style, format and types
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy --no-error-summary

clean: ## Remove what the other targets wrote, except .venv
	@rm -rf runs/demo site dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
