# Everything from nothing: a Debian 12 with Python 3.11 and make is enough.

UV_VERSION = 0.13.9
UV = .uv/bin/uv

# Debian's names for the programs that the tests use. A browser without a font draws
# empty boxes; the program inside playwright does not start without libatomic.
TEST_PACKAGES = chromium curl fonts-dejavu-core libatomic1 nginx redis-server postgresql pgbouncer

# The compiler of the fan-out, optional for users. Debian packages Python's headers separately.
IN_C = $(wildcard realtime_bridge/compiled/*.[ch])
COMPILER = gcc libc6-dev $(shell python3 -c 'import os, sysconfig; \
	print("" if os.path.exists(sysconfig.get_path("include") + "/Python.h") else "python3-dev")')

# The client in TypeScript needs Node 20.19, 22.12 or newer: the first ones with this feature.
# Debian 12 has an older Node, so .venv contains one for machines without.
CLIENT = clients/js
OLDER = test/react18
NPM = PATH="$(shell node -e 'process.exit(process.features.require_module ? 0 : 1)' 2>/dev/null || \
	echo '$(CURDIR)/.venv/bin:')$$PATH" npm --prefix $(CLIENT)

# The percentage of the public types that are written down.
TYPED = 100

# Each Python process would compile every module that it imports, where this variable is set.
export PYTHONDONTWRITEBYTECODE =

# Arguments of the command itself, never taken from the environment.
ARGS =

.PHONY: audit docs fuzz histories load sanitize soak mutants next vite help demo demo-postgres demo-celery demo-chat demo-htmx coverage test test-python test-client check check-python check-client payloads pins clean .venv test-packages

help:
	@echo "make demo     start the demo and print its address (ARGS='--port 9000 /folder')"
	@echo "make demo-htmx"
	@echo "              the demo with rows of HTML that the worker renders, by htmx and plain Server-Sent Events"
	@echo "make demo-postgres, make demo-celery"
	@echo "              the demo's work on DATABASE_URL, or by Celery on REDIS_URL, with the React widget"
	@echo "make demo-chat"
	@echo "              a chat whose answers a Celery worker streams (CHAT_MODEL=openai:gpt-5-mini, REDIS_URL)"
	@echo "make test     run the tests, four files at a time (ARGS='-k poll -n 0')"
	@echo "make check    lint, formatting, types, words, the direction of imports, and the client's package"
	@echo "              (test-python, test-client, check-python, check-client: one language alone)"
	@echo "make docs     build the documentation site into build/site, and check its links"
	@echo "make payloads write the TypeScript types of the events that the library makes itself"
	@echo "make coverage run the tests with branch coverage: protocol/ 100 %, the whole 95 %"
	@echo "make pins     write the list of the public names, which a test compares"
	@echo "make mutants  planted faults, which a test or the simulation has to find"
	@echo "make soak     an hour of simulated faults, with fresh seeds (ARGS='--seeds 1000')"
	@echo "make vite     an application of Vite installs the packed npm package, and connects (a minute)"
	@echo "make next     the quickstart with Next.js as printed, with Next.js from npm (two minutes)"
	@echo "make fuzz     random input for the server's parsers and routes, a minute each (ARGS='--seconds 600')"
	@echo "make sanitize the tests of the compiled core, with the sanitizers of addresses and of undefined behaviour"
	@echo "make audit    ask PyPI and npm for known vulnerabilities of the pinned dependencies"
	@echo "make histories"
	@echo "              random histories of keys with owners, on each log and on the model (ARGS='--count 20000')"
	@echo "make load     nodes, workers and clients under faults, with more of everything than the tests have;"
	@echo "              attacks on a server; all schedules of the lab, two hours (python -m tests.lab NAMES runs some, --soak 30 its soak)"
	@echo "make bench    measure against peers and the limit (ARGS=--quick, ARGS=fanout-1000)"
	@echo "make .venv    only set up the development environment"
	@echo "make clean    remove the environments and the caches"
	@echo "Missing programs are installed first, and named."

demo: .venv/.demo
	@.venv/bin/realtime-bridge demo $(ARGS)

demo-htmx: .venv/.demo
	@.venv/bin/python examples/processing_queue --on htmx $(ARGS)

demo-postgres demo-celery: demo-%: .venv $(CLIENT)/node_modules/.installed
	@.venv/bin/python examples/processing_queue --on $* $(ARGS)

# With REDIS_URL, that Redis is the broker and the log; without, one of its own.
demo-chat: .venv $(CLIENT)/node_modules/.installed
	@[ -n "$$REDIS_URL" ] || .ci/setup "the chat's queue and log" redis-server
	@.venv/bin/python examples/chat $(ARGS)

test: test-python test-client

# Tests wait for half of their time, for servers and limits: four workers keep two processors busy.
# The order is that of tests/conftest.py, whose longest files come first.
# The plus sign lets .ci/run print its lines at once.
test-python: test-packages .venv $(CLIENT)/node_modules/.installed
	+.venv/bin/pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-client: .venv $(CLIENT)/node_modules/.installed
	$(NPM) run test
	$(NPM) run test:react18

# Lines and branches, of child processes too. Timed tests are not run: tracing slows them down.
coverage: test-packages .venv $(CLIENT)/node_modules/.installed
	.venv/bin/pytest -n 2 --dist loadfile --timeout 300 --cov --cov-report= -m "not timed" $(ARGS)
	.venv/bin/coverage report --include='realtime_bridge/protocol/**' --fail-under=100
	.venv/bin/coverage report --fail-under=95

check: check-python check-client docs

check-python: .venv
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/python scripts/check_language.py
	.venv/bin/python scripts/check_tasks.py
	git ls-files -z | xargs -0 .venv/bin/codespell
	.venv/bin/pyright
	.venv/bin/python scripts/type_completeness.py realtime_bridge --at-least $(TYPED)

# TypeDoc writes Markdown, which MkDocs reads with the rest. Broken links and anchors are errors.
docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv $(CLIENT)/node_modules/.installed
	$(NPM) run --silent docs
	.venv/bin/mkdocs build --quiet
	@echo "The site is in build/site/: open build/site/index.html"
	@echo "Its search needs a server: python3 -m http.server --bind 127.0.0.1 --directory build/site"

check-client: .venv $(CLIENT)/node_modules/.installed
	@.venv/bin/python -m realtime_bridge.jobs.payloads | $(NPM) run payloads -- --check
	$(NPM) run check

pins: .venv
	@.venv/bin/python scripts/public_names.py

payloads: .venv $(CLIENT)/node_modules/.installed
	@.venv/bin/python -m realtime_bridge.jobs.payloads | $(NPM) run payloads

load: test-packages .venv $(CLIENT)/node_modules/.installed
	FULL_LOAD=1 .venv/bin/pytest --timeout 600 tests/server/outlets tests/nodes tests/browser/test_many_jobs.py tests/browser/test_shared_connection.py tests/jobs/test_job.py tests/jobs/test_frozen_worker.py tests/security/test_load.py tests/backends/sqlite/test_sqlite_processes.py tests/simulation $(ARGS)
	FULL_LOAD=1 .venv/bin/pytest --timeout 900 tests/browser/test_idle_page.py $(ARGS)
	.venv/bin/python -m tests.lab --long

# Frame parsers, session, polls, publish calls, authorization of providers, requests made from openapi.yaml;
# a failure prints its input.
fuzz: .venv
	.venv/bin/python -m tests.fuzz $(ARGS)

sanitize: .venv
	.venv/bin/python scripts/sanitize.py $(ARGS)

histories: test-packages .venv
	for log in memory redis postgres sqlite; do .venv/bin/python -m tests.fuzz.histories $$log $(ARGS) || exit 1; done

# Advisories for what the lock files pin: of PyPI, and of the npm registry.
audit:
	@mkdir -p build
	$(UV) export --quiet --locked --all-extras --all-groups --no-emit-project --no-hashes --output-file build/requirements.txt
	$(UV) tool run pip-audit --disable-pip --no-deps --requirement build/requirements.txt
	npm audit --prefix $(CLIENT)
	npm audit --prefix $(CLIENT)/$(OLDER)

# It asks the npm registry for Vite and React.
vite: test-packages .venv $(CLIENT)/node_modules/.installed
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -m scripts.try_vite_app

# It asks the npm registry for Next.js and React.
next: test-packages .venv $(CLIENT)/node_modules/.installed
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -m scripts.try_next_app

soak: .venv
	.venv/bin/python -m realtime_bridge.testing.simulation --minutes 60 --from "$$(date +%s)000" $(ARGS)

# Each patch of tests/mutants breaks the library; its test, or the simulation, has to find it.
mutants: .venv
	.venv/bin/python scripts/mutants.py $(ARGS)

# Peers have an environment of their own, so that the library does not depend on them.
NATIVE = bench/native/load bench/native/limit

bench: .venv $(NATIVE) bench/.venv/.installed bench/node/node_modules/.installed
	.venv/bin/python -m bench $(ARGS)
	@if [ -z "$(filter --quick,$(ARGS))" ] && [ -e bench/results/fanout-1000.json ]; then \
		bench/.venv/bin/python bench/plot.py bench/results docs/images/performance.png; fi

bench/native/%: bench/native/%.c bench/native/wire.h
	@command -v gcc >/dev/null || .ci/setup "the load client is C" gcc libc6-dev
	gcc -D_GNU_SOURCE -O2 -Wall -Wextra -o $@ $<

bench/.venv/.installed: bench/requirements.txt | .uv/$(UV_VERSION)
	@$(UV) venv --quiet --clear bench/.venv
	@$(UV) pip sync --quiet --python bench/.venv bench/requirements.txt
	@touch $@

bench/node/node_modules/.installed: bench/node/package-lock.json | .venv
	@PATH="$(CURDIR)/.venv/bin:$$PATH" npm --prefix bench/node ci --no-audit --no-fund --loglevel=error
	@touch $@

clean:
	rm -rf bench/.venv bench/results bench/node/node_modules $(NATIVE)
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .import_linter_cache dist
	rm -rf $(CLIENT)/dist $(CLIENT)/node_modules $(CLIENT)/$(OLDER)/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv: .venv/.dev

# apt-get runs alone, also where make runs two targets at a time.
test-packages: | .venv
	@.ci/setup "the tests use it" $(TEST_PACKAGES)

# One environment for all: development adds to what the demo needs,
# and the demo takes nothing away (--inexact).
.venv/.demo: pyproject.toml uv.lock | .uv/$(UV_VERSION)
	@echo "Installing what the demo needs into .venv/, as uv.lock pins it."
	@$(UV) sync --quiet --locked --no-dev --extra demo --inexact
	@touch $@

.venv/.dev: pyproject.toml uv.lock hatch_build.py $(IN_C) | .uv/$(UV_VERSION)
	@.ci/setup "the core is C" $(COMPILER)
	@echo "Installing what the tests and checks need into .venv/, as uv.lock pins it."
	@$(UV) sync --quiet --locked --reinstall-package realtime-bridge
	@touch .venv/.demo $@

# Both versions of React that the client supports, each with its own lock file.
$(CLIENT)/node_modules/.installed: $(CLIENT)/package-lock.json $(CLIENT)/$(OLDER)/package-lock.json | .venv
	@echo "Installing what the client's tests and checks need, as package-lock.json pins it."
	@$(NPM) ci --no-audit --no-fund --loglevel=error
	@$(NPM)/$(OLDER) ci --no-audit --no-fund --loglevel=error
	@touch $@

# Debian's Python lacks ensurepip, and so venv, until python3-venv is there.
.uv/$(UV_VERSION):
	@python3 -c 'import ensurepip' 2>/dev/null || .ci/setup "Python's venv needs it" python3-venv
	@echo "Installing uv $(UV_VERSION) into .uv/: it installs all the rest from PyPI."
	@python3 -m venv --clear .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
