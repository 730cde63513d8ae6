# Everything installs into .venv, once, and the lowest versions into .venv-lowest; `make help` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
LOWEST := .venv-lowest
WHEEL := dist

.DEFAULT_GOAL := help
.PHONY: help install train test test-all coverage test-lowest fuzz lint docs notebook wheel reproduce bench tables clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

$(INSTALLED) $(LOWEST)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --editable '.[dev]'
	touch $@

$(LOWEST)/installed: .ci/lowest.txt
$(LOWEST)/installed: export PIP_CONSTRAINT := .ci/lowest.txt

install: $(INSTALLED)  ## create .venv with the package and its development tools

train: $(INSTALLED)  ## the main job: train with the sigmoid head, test, and predict
	$(BIN)/python -m multilabel_pl fit --model.head sigmoid
	$(BIN)/python -m multilabel_pl test
	$(BIN)/python -m multilabel_pl predict

test: $(INSTALLED)  ## run the tests but the slow ones: four minutes on two cores
	$(BIN)/pytest -n auto -m 'not slow' --hypothesis-profile quick

test-all: $(INSTALLED)  ## run all tests, those of the page in a browser among them
	$(BIN)/pytest -n auto

coverage: $(INSTALLED)  ## run all tests and report which lines and branches they reach
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n auto
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-lowest: $(LOWEST)/installed  ## run the tests but the slow ones with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/pytest -n auto -m 'not slow' --hypothesis-profile quick

fuzz: $(INSTALLED)  ## try 10,000 damaged files and odd options of each kind
	$(BIN)/pytest -n auto tests/test_fuzz.py --hypothesis-profile thorough --hypothesis-show-statistics

lint: $(INSTALLED)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)  ## build the manual into docs/_build/html; warnings are errors
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

notebook: $(INSTALLED)  ## run the tutorial's notebook again, and keep its outputs
	$(BIN)/jupyter-execute --inplace docs/tutorial.ipynb
	rm docs/sigmoid.ckpt

wheel: $(INSTALLED)  ## build the packages, and do the main job with the wheel in an empty environment
	rm -rf $(WHEEL)
	$(BIN)/python -m build --outdir $(WHEEL)
	$(BIN)/twine check --strict $(WHEEL)/*
	$(PYTHON) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/pip install --quiet $(WHEEL)/*.whl
	cd $(WHEEL)/venv && bin/multilabel-pl fit --config fast --trainer.max_epochs 1 --trainer.limit_train_batches 100
	cd $(WHEEL)/venv && bin/multilabel-pl test
	cd $(WHEEL)/venv && bin/multilabel-pl predict
	rm -rf $(WHEEL)/venv

reproduce: $(INSTALLED)  ## train all four configurations and print the tutorial's figures beside ours
	$(BIN)/python -m benchmarks.reproduce

bench: $(INSTALLED)  ## measure the speed of training, image files and commands against peers
	$(BIN)/python -m benchmarks.speed

tables: $(INSTALLED)  ## measure everything in the manual's tables again, in place: some hours on two idle cores
	$(BIN)/python -m benchmarks.tables

clean:  ## remove what was built; runs/ stays
	rm -rf .venv $(LOWEST) dist docs/_build
