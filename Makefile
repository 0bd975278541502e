# `make demo` makes a photo talk, `make test` runs the tests; both install what they need into .venv first.

PYTHON ?= python3
VENV ?= .venv
# Packages that only some tests need, such as torch; without them those are skipped.
TEST_EXTRAS ?=
RUN = $(VENV)/bin/python

.PHONY: demo test

demo: $(VENV)/.installed
	$(RUN) -m lipgan_keras.demo

test: $(VENV)/.installed-test
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q

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
