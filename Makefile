# Two commands do everything on a fresh machine with Python 3.11 to 3.13, git and make: `make run` and `make test`.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

run: .venv/ready          ## the whole pipeline; PRESET=name, ARGS="--set section.key=value"
	doctune run $(if $(PRESET),--preset $(PRESET)) $(ARGS)

test: .venv/tested        ## all tests, end-to-end ones included, two files at a time
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

repro: .venv/ready        ## the same pipeline through DVC alone
	dvc repro

ui: .venv/ready           ## MLflow and Prefect in the browser
	doctune ui

bench-align: .venv/ready  ## how well and how fast pages are aligned; ARGS="--repository PATH --snapshot TAG"
	python -m bench.corpus $(ARGS)

bench-train: .venv/ready .venv-peers/ready  ## how fast training is, beside its peers; ARGS="--pairs FILE --rounds N"
	python -m bench.train $(ARGS)

lint: .venv/ready         ## style and types
	ruff check . && ruff format --check . && mypy

.venv/ready: requirements.lock pyproject.toml
	python3 -m venv .venv && pip install --quiet --requirement requirements.lock && pip install --quiet --no-deps --no-build-isolation --editable . && touch $@

.venv/tested: .venv/ready tests/optional.txt
	pip install --quiet --requirement tests/optional.txt && touch $@

.venv-peers/ready: bench/peers.txt
	python3 -m venv .venv-peers && .venv-peers/bin/pip install --quiet --requirement bench/peers.txt && touch $@

comet: .venv-comet/ready  ## COMET, for evaluate.comet, in an environment of its own

.venv-comet/ready: docs/comet.txt
	python3 -m venv .venv-comet && .venv-comet/bin/pip install --quiet --requirement docs/comet.txt && touch $@

.PHONY: run test repro ui bench-align bench-train comet lint
