PYTHON ?= python3
WORKERS ?= 2
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
PIP := $(RUN) pip --disable-pip-version-check --quiet install

.PHONY: demo test lint format venv help

# The first target is what plain `make` does.
help:
	@echo "make demo     install into $(VENV) and recognise handwritten digits"
	@echo "make test     install with the development tools, check style and types, run the tests"
	@echo "make lint     style and types only"
	@echo "make format   rewrite the sources in the project's style"
	@echo "make venv     only make $(VENV) and install"
	@echo "Variables: PYTHON=$(PYTHON) WORKERS=$(WORKERS) (test processes, 0 for one) PYTEST_ARGS"

demo: $(VENV)/.installed
	@$(RUN) numba_rt.demo

test: lint
	$(RUN) pytest -q -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

format: $(VENV)/.installed-dev
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

venv: $(VENV)/.installed

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("numba_rt needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Choose another with PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.created
	@echo "Installing numba_rt into $(VENV) (once; a minute or two) ..."
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.created
	@echo "Installing numba_rt and the development tools into $(VENV) (once; a few minutes) ..."
	@$(PIP) -e '.[dev]'
	@touch $(VENV)/.installed $@
