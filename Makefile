# "make" lists the commands. Each of them sets the project up first, once, inside .venv.
# Variables: PYTHON (one of 3.11 to 3.13), IVY_SETTINGS (a mirror for Delta's jars),
# UV_ARGS (for lock), PYTEST_ARGS (for test, test-slow), BENCH_ARGS (for bench, bench-check), WITH
# (for package: further distributions, such as WITH="torch safetensors" for scoring).

.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTEST_ARGS ?=
KILLS ?= 20
SEED ?=
TORTURE_ARGS ?=
BENCH_ARGS ?=

ready := .venv/.ready
python := .venv/bin/python
export PYTHON IVY_SETTINGS UV_ARGS

# Jobs started by a test or by Airflow find this environment's commands first, and no other Spark.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport SPARK_HOME SPARK_CONF_DIR PYTHONPATH PYTHONHOME

# Java compiles quickly rather than well: good for many short sessions, wrong for long jobs, so bench
# and spark-submit go without.
quick_start := -XX:TieredStopAtLevel=1
# A query over a thousand rows takes longer to compile and to re-plan than to run. Commands choose
# these options by themselves (docs/small-data.md); here they are for spark-submit and for sessions
# of tests. Benchmarks measure Spark as large tables have it.
small_data := -Dspark.sql.codegen.wholeStage=false -Dspark.sql.codegen.factoryMode=NO_CODEGEN \
	-Dspark.sql.adaptive.enabled=false
# The tests' sessions last for minutes all the same. The quick compiler has room for 48 MB of code,
# which is full after two days of the loop; from then on Java throws compiled code out, or compiles
# no more. And the Python workers are forked with torch imported: tests/helpers/python_daemon.py.
long_session := -XX:ReservedCodeCacheSize=256m \
	-Dspark.python.daemon.module=tests.helpers.python_daemon
torture: export SPARK_SUBMIT_OPTS := $(quick_start) $(small_data)
test test-slow: export SPARK_SUBMIT_OPTS := $(quick_start) $(small_data) $(long_session)
# Three processes share two cores: a second thread of linear algebra spins while it waits for its turn.
test test-slow: export OMP_NUM_THREADS := 1
# The demonstration's one session lasts for minutes: compiling well pays there.
demo up: export SPARK_SUBMIT_OPTS := $(small_data)
bench bench-check: export TENFORWARD_SMALL_DATA := no

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(ready) ## install everything into .venv (3 minutes and 7 GB; once)

$(ready): requirements.lock pyproject.toml $(wildcard setup/*) \
		spark_jobs/spark-defaults.conf spark_jobs/log4j2.properties \
		$(wildcard spark_jobs/storage/*.java)
	@setup/all.sh
	@touch $@

.PHONY: demo
demo: $(ready) ## run the loop on a stream of real flights
	@$(python) -m demo.loop

.PHONY: up
up: $(ready) ## Airflow and MLflow with their pages, the flights live; Ctrl-C stops it
	@$(python) -m demo.up

.PHONY: down
down: $(ready) ## stop what "make up" runs, once its running task has ended
	@$(python) -m demo.up --down

# Three processes take turns at the files, for two cores: one of them usually waits. Each has at most
# one Spark session. tests/conftest.py says which files are dealt first. (A fourth runs out of 24 GB.)
pytest := $(python) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: $(ready) ## run the tests
	@$(pytest) -m "not slow" $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: $(ready) ## run the tests of whole systems: Airflow, spark-submit, a cluster, kills
	@$(pytest) -m slow $(PYTEST_ARGS)

.PHONY: torture
torture: $(ready) ## kill processes all through the loop: KILLS=20, SEED= to repeat one (an hour)
	@$(python) -m tests.torture --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(TORTURE_ARGS)

.PHONY: lint
lint: $(ready) ## check style and types
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy

.PHONY: bench
bench: $(ready) ## measure, and write the tables of the documentation
	@$(python) -m benchmarks $(BENCH_ARGS)

.PHONY: bench-check
bench-check: $(ready) ## measure small sizes against committed ratios, before work is called done
	@$(python) -m benchmarks.check $(BENCH_ARGS)

.PHONY: study
study: $(ready) ## the study of docs/study.md at a small size
	@$(python) -m benchmarks.study

.PHONY: study-data
study-data: $(ready) ## fetch the data of the study's full size into data/ (70 MB)
	@setup/study_data.sh data

.PHONY: lock
lock: $(ready) ## rebuild the lock files from pyproject.toml
	@setup/lock.sh

.PHONY: licences
licences: $(ready) ## write docs/licences.md, from what the installed packages say
	@$(python) setup/licences.py docs/licences.md

.PHONY: zip
zip: dist/tenforward.zip dist/tenforward-log-store.jar ## build what spark-submit takes along: --py-files, --jars

sources := $(shell find console inference schemas spark_jobs trainer tenforward.py -name "*.py" -o -name "*.html" 2>/dev/null)

dist/tenforward.zip: $(sources) $(ready) setup/zip.py
	@$(python) setup/zip.py $@ $(sources)

dist/tenforward-log-store.jar: $(ready) $(wildcard spark_jobs/storage/*.java)
	@mkdir -p dist
	@cp .venv/lib/python3.*/site-packages/pyspark/jars/tenforward-log-store.jar $@

# Small enough to send along with a job; torch, which the lock file has with CUDA, would make it
# ten times as large (docs/cluster.md).
.PHONY: package
package: zip dist/env.tar.gz ## build the zip, and dist/env.tar.gz for spark-submit --archives

dist/env.tar.gz: $(ready) setup/package.py pyproject.toml
	@$(python) setup/package.py $@ $(WITH)

.PHONY: s3-jars
s3-jars: $(ready) ## fetch the 645 MB of jars with which Spark reads and writes s3://
	@setup/s3_jars.sh

.PHONY: clean
clean: ## remove what the commands made, .venv too; the warehouse stays
	rm -rf .venv dist build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
