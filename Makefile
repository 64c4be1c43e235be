# Needs Python 3.11 or later, make and a package index. Everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Flags for what is run: make serve ARGS="--listen 127.0.0.1:5001", make test ARGS="-k manifest".
ARGS ?=

.DEFAULT_GOAL = help
.PHONY: help serve test test-all check format docs bench faults setup setup-all clean

help:
	@echo "make serve     run the registry on 127.0.0.1:5000"
	@echo "make test      run the tests that need neither root nor other software"
	@echo "make test-all  run all tests; as root, installs the clients and servers they use"
	@echo "make check     check format, style, types and layers"
	@echo "make format    put the code into the format that check wants"
	@echo "make docs      write the pages that are printed by the code"
	@echo "make bench     measure, beside other registries where there are any"
	@echo "make faults    break three replicas, PostgreSQL and S3 while clients use them; prints a report"

serve: $(VENV)/.serve
	@exec $(BIN)/entrepot serve $(ARGS)

test: setup
	$(BIN)/python -m pytest -m "not interop and not root and not slow" $(ARGS)

test-all: setup-all
	$(BIN)/python -m pytest $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src tests bench
	$(BIN)/lint-imports --no-logo

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup
	for kind in sqlite postgresql; do \
	  $(BIN)/python -m entrepot.metadata.compiled $$kind > texts.tmp && mv texts.tmp src/entrepot/metadata/$${kind}_texts.json \
	  || exit 1; done
	$(BIN)/python -m entrepot.metadata.new_database sqlite > new.tmp && mv new.tmp src/entrepot/metadata/sqlite_new.sql
	$(BIN)/python -m entrepot.metadata.new_database postgresql > new.tmp && mv new.tmp src/entrepot/metadata/postgresql_migrations.sql
	$(BIN)/entrepot config reference > docs/configuration.md
	$(BIN)/entrepot manual > docs/cli.md
	WRITE_DOCS=1 $(BIN)/python -m pytest -q tests/docs/test_transcript.py tests/docs/test_library.py tests/docs/test_client.py

bench: setup
	@.ci/install wrk:wrk ab:apache2-utils nginx:nginx-light docker-registry:docker-registry skopeo:skopeo \
	  dockerd:docker.io ctr:containerd \
	  postgres:postgresql ceph-mon:ceph-mon ceph-osd:ceph-osd radosgw:radosgw ceph:ceph-common
	$(BIN)/python -m bench $(ARGS)

faults: setup
	@.ci/install dockerd:docker.io skopeo:skopeo postgres:postgresql haproxy:haproxy docker-compose:docker-compose ceph-mon:ceph-mon \
	  ceph-osd:ceph-osd radosgw:radosgw ceph:ceph-common
	$(BIN)/python -m tests.cluster $(ARGS)

setup: $(VENV)/.develop

setup-all: setup
	@.ci/install dockerd:docker.io skopeo:skopeo podman:podman buildah:buildah umoci:umoci ctr:containerd \
	  docker-registry:docker-registry nginx:nginx-light ab:apache2-utils wrk:wrk \
	  postgres:postgresql haproxy:haproxy docker-compose:docker-compose ceph-mon:ceph-mon ceph-osd:ceph-osd radosgw:radosgw ceph:ceph-common
	@.ci/install-conformance $(BIN)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# The stamps are younger than pyproject.toml as long as what it asks for is installed.
$(VENV)/.serve: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.develop: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(VENV)/.serve $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "Python's venv is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
