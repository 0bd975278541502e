# `make demo` makes a photo talk, `make test` runs the tests; `make docs` builds the site into docs/_build/html, and
# `make docs-test` tests it: its pages' commands, the lesson, the page. All install what they need into .venv first.

PYTHON ?= python3
VENV ?= .venv
# Packages that only some tests need, such as torch; without them those are skipped.
TEST_EXTRAS ?=
# The same for the tests of the pages.
DOCS_EXTRAS ?=
RUN = $(VENV)/bin/python

.PHONY: demo test docs docs-test

demo: $(VENV)/.installed
	$(RUN) -m lipgan_keras.demo

test: $(VENV)/.installed-test
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q

docs: $(VENV)/.installed-docs
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

docs-test: $(VENV)/.installed-test $(VENV)/.installed-docs
	$(RUN) -m pytest -q --dist loadfile tests_docs

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))" || \
		{ echo "Python 3.10 to 3.13 is needed; name one, such as: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.installed-test: requirements-test.txt requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --disable-pip-version-check -r requirements-test.txt $(TEST_EXTRAS)
	touch $@

# What the pages show: the site itself, and the extras whose commands they name.
DOCS_REQUIREMENTS = $(foreach extra,docs app export hf lesson,requirements-$(extra).txt)

$(VENV)/.installed-docs: $(DOCS_REQUIREMENTS) requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --disable-pip-version-check $(addprefix -r ,$(DOCS_REQUIREMENTS)) $(DOCS_EXTRAS)
	touch $@
