# Only make and Python are taken for granted: everything else is installed in $(VENV).
PYTHON ?= python3
VENV ?= .venv
# More arguments for the command of `serve`, `tests`, `soak`, `bench` or `bench-quick`.
ARGS ?=

# The packages of the clients, for the tests that drive them.
CLIENTS = PUBLISHED=$(VENV)-published NODE_PACKAGES=$(VENV)-node/node_modules ADMIN=$(VENV)-admin

.PHONY: help serve docs check tests tests-faults tests-clients tests-wheel screenshots lint format soak old-faults bench bench-quick constraints dist clean

# One more than there are cores: tests wait for the servers that they start.
PARALLEL = -n $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)') --maxprocesses 4 --dist worksteal

# From Python 3.14 on coverage costs next to nothing; before, half of the time again. The floor is
# for all tests: those that ARGS chooses reach less.
COVERAGE = $(if $(python_measures),--cov $(if $(strip $(ARGS)),,--cov-fail-under=96))

# Uploads, downloads, the page and the command line, on memory: what would miss a file of the
# package. It takes about a minute.
WHEEL_TESTS = tests/wheel $(addprefix tests/http/test_,upload.py download.py deletions.py demo.py) \
	$(addprefix tests/commands/test_,serve.py sync.py) -k 'not postgresql'

# What one runs while working: no process beside pytest, no database, no store behind a network.
CHECKED = tests/units tests/http \
	$(addprefix --ignore tests/http/test_,streaming.py openapi.py refused_bodies.py slow_bodies.py) \
	-k 'not postgresql and not s3 and not gcloud'

# Twice quiet: errors only.
PIP_INSTALL = $(VENV)/bin/python -m pip install -qq --disable-pip-version-check
# Tests run with versions that are known to pass; users, and `serve`, get the newest.
PINNED = --constraint constraints.txt

DIST_TOOLS = build twine

python_version = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
python_is_new = $(shell $(PYTHON) -c 'import sys; print("yes" if sys.version_info >= (3, 11) else "")' 2>/dev/null)
python_measures = $(shell $(VENV)/bin/python -c 'import sys; print("yes" if sys.version_info >= (3, 14) else "")' 2>/dev/null)
python_has_venv = $(shell $(PYTHON) -c 'import ensurepip, venv; print("yes")' 2>/dev/null)

define require_python
$(if $(python_is_new),,$(error Python 3.11 or newer is needed, but $(PYTHON) is $(or $(python_version),missing): name another one, as in `make $(MAKECMDGOALS) PYTHON=python3.12`))
$(if $(python_has_venv),,$(error $(PYTHON) has no venv module: install it (on Debian and Ubuntu: `apt-get install python3-venv`)))
endef

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1:\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F: '{ printf "%-18s %s\n", $$1, $$2 }'

serve: $(VENV)/.serve ## run a Kinto with attachments to try out
	@$(VENV)/bin/kinto-attachment serve $(ARGS)

# pytest comes last, and its closing line too: whoever reads the end of the output sees the result.
tests: lint $(VENV)/.dist ## check the style and the types, run the tests; from Python 3.14 on, report the coverage
	@$(VENV)/bin/python -m pytest $(COVERAGE) --durations 10 --ignore tests/clients --ignore tests/wheel $(PARALLEL) $(ARGS)

check: lint ## what one runs while working: style, types, rooms, units, HTTP on memory
	@$(VENV)/bin/python -m pytest $(CHECKED) --durations 3 $(PARALLEL) $(ARGS)

tests-faults: $(VENV)/.tests ## break things: what the five promises rest on
	@$(VENV)/bin/python -m pytest tests/faults $(PARALLEL) $(ARGS)

tests-clients: $(VENV)/.clients $(VENV)-published/.done $(VENV)-node/.done $(VENV)-admin/.done ## run the clients that people use: curl, HTTPie, Python, Node, Chromium, Kinto Admin
	@$(CLIENTS) $(VENV)/bin/python -m pytest tests/clients $(PARALLEL) --dist loadfile $(ARGS)

tests-wheel: dist $(VENV)-wheel/bin/pip ## run tests of the built wheel, with the sources out of reach
	@$(VENV)-wheel/bin/python -m pip install -qq --disable-pip-version-check $(PINNED) "$$(echo dist/*.whl)[tests]"
	@$(VENV)-wheel/bin/python -m pip install -qq --disable-pip-version-check --force-reinstall --no-deps dist/*.whl
	@rm -rf $(VENV)-wheel/copy
	@mkdir $(VENV)-wheel/copy
	@cp -r pyproject.toml tests $(VENV)-wheel/copy
	@cd $(VENV)-wheel/copy && ../bin/python -m pytest $(WHEEL_TESTS) $(PARALLEL) $(ARGS)

screenshots: $(VENV)/.clients $(VENV)-node/.done $(VENV)-admin/.done ## take the pictures of README again
	@$(CLIENTS) SCREENSHOTS=screenshots $(VENV)/bin/python -m pytest tests/clients -k screenshot $(ARGS)

docs: $(VENV)/.tests ## build the documentation into build/docs; a warning is an error
	@$(VENV)/bin/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky --fresh-env docs build/docs
	@echo "The documentation is in build/docs/index.html."

lint: $(VENV)/.tests ## check the style, the types, and which room imports which
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports --no-cache --no-logo
	@$(VENV)/bin/mypy

format: $(VENV)/.tests ## put the code into the project's style
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

soak: $(VENV)/.tests ## break record, link and file at random for long; prints its seed
	@$(VENV)/bin/python -m tests.faults.soak $(ARGS)

old-faults: $(VENV)/.tests ## put old faults back, one by one, and see that the tests notice each
	@$(VENV)/bin/python -m tests.faults.old_faults $(ARGS)

bench: $(VENV)/.tests $(VENV)-published/.done ## measure the figures that docs/figures.rst gives
	@BENCH_PUBLISHED=$(VENV)-published $(VENV)/bin/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.tests $(VENV)-published/.done ## measure them on small files, to see that the measuring works
	@BENCH_PUBLISHED=$(VENV)-published $(VENV)/bin/python -m benchmarks --quick $(ARGS)

# By the oldest Python: what that can install, the newer ones can as well. They choose setuptools,
# which comes with the oldest, and what the oldest does not need.
constraints: ## renew the versions that the tests run with
	$(require_python)
	$(if $(filter 3.11,$(python_version)),,$(error Name Python 3.11, as in `make constraints PYTHON=python3.11`))
	@rm -rf $(VENV)-newest
	@$(PYTHON) -m venv $(VENV)-newest
	@$(VENV)-newest/bin/python -m pip install -qq --disable-pip-version-check --editable '.[clients,docs]' $(DIST_TOOLS)
	@sed '/^#/!d' constraints.txt > $(VENV)-newest/constraints.txt
	@$(VENV)-newest/bin/python -m pip freeze --exclude-editable --exclude setuptools >> $(VENV)-newest/constraints.txt
	@mv $(VENV)-newest/constraints.txt constraints.txt

dist: $(VENV)/.dist ## build the source archive and the wheel
	@rm -rf dist
	@$(VENV)/bin/python -m build --quiet --outdir dist .
	@$(VENV)/bin/twine check --strict dist/*

clean: ## remove what these targets made, except the data of `serve`
	@rm -rf $(VENV) $(VENV)-published $(VENV)-node $(VENV)-admin $(VENV)-wheel $(VENV)-newest .tox build dist *.egg-info htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv puts there: an interrupted creation is done again.
$(VENV)/bin/pip:
	$(require_python)
	@$(PYTHON) -m venv $(VENV)

$(VENV)-wheel/bin/pip:
	$(require_python)
	@$(PYTHON) -m venv $(VENV)-wheel

# Empty files, whose dates tell that what pyproject.toml asks for is installed.
$(VENV)/.serve: pyproject.toml | $(VENV)/bin/pip
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.tests: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@$(PIP_INSTALL) $(PINNED) --editable '.[tests,docs]'
	@touch $@ $(VENV)/.serve

# The published plugin, to compare with, is kept apart.
$(VENV)-published/.done: | $(VENV)/bin/pip
	@$(PYTHON) -m venv $(VENV)-published
	@$(VENV)-published/bin/python -m pip install -qq --disable-pip-version-check \
		kinto-attachment==8.0.0 'kinto[postgresql]' waitress gunicorn
	@touch $@

$(VENV)/.clients: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@$(PIP_INSTALL) $(PINNED) --editable '.[clients,docs]'
	@touch $@ $(VENV)/.tests $(VENV)/.serve

# Clients in JavaScript: kinto.js, and those of uploads in several requests, which esbuild bundles
# for pages.
$(VENV)-node/.done: Makefile
	@npm install --silent --no-audit --no-fund --prefix $(VENV)-node kinto@17.1.1 \
		tus-js-client@4.3.1 @uppy/core@6.3.1 @uppy/tus@6.0.0 esbuild@0.25.10
	@touch $@

# Kinto Admin: the last release of Kinto whose archive has it built is not the newest.
$(VENV)-admin/.done: | $(VENV)/bin/pip
	@$(PIP_INSTALL) --no-deps --target $(VENV)-admin kinto==24.1.1
	@touch $@

$(VENV)/.dist: constraints.txt | $(VENV)/bin/pip
	@$(PIP_INSTALL) $(PINNED) $(DIST_TOOLS)
	@touch $@
