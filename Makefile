# Two words do everything on a fresh Debian machine with Python 3.11: `make demo` and `make test`.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install servers demo recordings lab lab-jupyter lab-down check docs test survive lock clean

python := .venv/bin/python
stamp := .venv/.installed
# Two workers run a lab each, which mostly waits; the others compute. With more workers, the labs are late.
WORKERS ?= 3

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(stamp) ## create .venv with the locked dependencies and this package

$(stamp): pyproject.toml requirements.lock scripts/install
	@scripts/install

servers: ## install the servers that the lab and the tests need (Debian packages), started by nobody
	@scripts/servers

demo: install ## replay a recorded incident (real servers, real fault); needs nothing but Python
	@.venv/bin/runbook replay recordings/HighErrorRate-connections-exhausted.json --output evidence; code=$$?; \
	if [ $$code -ne 1 ]; then \
	    echo "demo: the replay ended with $$code; 1 (a problem was found) was expected" >&2; exit 1; \
	fi

lab: install servers ## start the lab: real servers on loopback ports, with traffic
	$(python) -m lab up

lab-jupyter: lab ## start the lab, and JupyterLab on the start page (JUPYTER=--allow-root: an option of Jupyter's)
	.venv/bin/runbook lab -e lab $(addprefix --jupyter=,$(JUPYTER))

recordings: install servers ## record the incidents under recordings/ again, from the lab (about 6 minutes)
	$(python) -m lab.incidents

lab-down: install ## stop the lab
	$(python) -m lab down

check: install ## format, lint and types, of the code and of the runbooks; all of them, also after one has failed
	@code=0; \
	check() { echo "$$*"; "$$@" || code=1; }; \
	check $(python) -m ruff format --check .; \
	check $(python) -m ruff check .; \
	check $(python) -m mypy; \
	check .venv/bin/runbook tidy --check; \
	check .venv/bin/runbook lint --rules lab/rules.yml; \
	exit $$code

docs: install ## write the generated pages again: checks.md, commands.md, lint.md, environment-variables.md
	$(python) -c "from runbooklib.cli import app, commands; print(commands.document(app), end='')" > docs/commands.md
	$(python) -c "from runbooklib.notebook.names import document; print(document(), end='')" > docs/checks.md
	.venv/bin/runbook lint --explain all > docs/lint.md
	$(python) -c "from runbooklib.config.variables import document; print(document(), end='')" \
	    > docs/environment-variables.md

test: install servers ## everything: check, then all tests on real servers; all of it, also after a part has failed
	@$(python) -m tests --check --end-with-parent --workers $(WORKERS)

survive: install servers ## bring about every fault and hostile input, and print the table (SEED=n, WRITE=1: keep it, WORKERS=n)
	$(python) -m tests.faults --workers $(WORKERS) $(if $(SEED),--seed $(SEED)) $(if $(WRITE),--write)

lock: ## bring requirements.lock in line with pyproject.toml (UPGRADE=1: take the newest versions)
	@scripts/lock $(if $(UPGRADE),--upgrade)

clean: ## remove .venv and caches; evidence stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
