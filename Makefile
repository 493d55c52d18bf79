# `make demo` and `make test` need only make and Python 3.11 with pip and venv.

PYTHON ?= python3
EXTRAS ?= dev
BIN := .venv/bin
export MPLBACKEND := Agg
# Small matrices, two test processes: threads of the linear algebra would only wait for each other.
export OPENBLAS_NUM_THREADS := 1
# Where it is set, every process compiles all its imports anew: 9 s of a processor instead of 3 s.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test checks lint types layers units validate bench labs oracle docs clean

ORACLE_PIP := .venv-oracle/bin/pip install --quiet --disable-pip-version-check --no-deps
CPU_TORCH := torch==2.13.0+cpu
WORKLOADS ?= 10000
# Seed of the mutated inputs.
INPUTS ?= 16

demo: .venv/compiled
	$(BIN)/secondorder demo

# One core checks the types while the other compiles the kernels; then both run the tests.
test: .venv/installed
	$(MAKE) --no-print-directory -j 2 .venv/compiled checks
	$(MAKE) --no-print-directory units

checks: types lint layers

lint: .venv/installed
	$(BIN)/ruff check secondorder tests benchmarks docs
	$(BIN)/ruff format --check secondorder tests benchmarks docs

types: .venv/installed
	$(BIN)/mypy

layers: .venv/installed
	$(BIN)/lint-imports

units: .venv/compiled
	$(BIN)/python -m pytest -n 2 --dist worksteal

validate: .venv/compiled
	SECONDORDER_EXAMPLES=20 $(BIN)/python -m pytest -n 2 tests/simulate/test_engine.py tests/simulate/test_policies.py
	SECONDORDER_KERNEL_EXAMPLES=5000 $(BIN)/python -m pytest -n 2 tests/simulate/test_kernels.py tests/simulate/test_compiled_models.py
	SECONDORDER_TWINS=all $(BIN)/python -m pytest -n 2 tests/validation/test_catalogue.py
	$(BIN)/secondorder validate
	$(BIN)/secondorder validate --coverage --suite queueing
	$(BIN)/secondorder validate --coverage --suite serving --service "30%" --seeds 40
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/fuzz.py --count 10000 --seed $(INPUTS)

bench: .venv/compiled
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/kernel_speed.py
	$(BIN)/python benchmarks/partition.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/deployment_speed.py
	$(BIN)/python benchmarks/prefix_routing.py
	$(BIN)/python benchmarks/questions.py
	$(BIN)/python benchmarks/real_engine.py
	$(BIN)/python benchmarks/step_times.py
	$(BIN)/python benchmarks/disaggregated.py
	$(BIN)/python benchmarks/decode_steps.py
	$(BIN)/python benchmarks/serving_accuracy.py
	$(BIN)/python benchmarks/solve_speed.py
	$(BIN)/python benchmarks/queue_speed.py
	$(BIN)/python benchmarks/variance_reduction.py
	$(BIN)/python benchmarks/roofline_speed.py
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/map_accuracy.py
	$(BIN)/python benchmarks/study_speed.py
	$(BIN)/python benchmarks/store_speed.py
	$(BIN)/python benchmarks/collective_speed.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/first_order.py

labs: .venv/compiled
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[labs,browser]"
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests/labs
	$(BIN)/python benchmarks/lab_speed.py

# The real scheduler, of three versions, in an environment of its own (2.5 GB).
oracle: .venv/installed .venv-oracle/installed
	PYTHONPATH=tests $(BIN)/python -m oracle.compare --workloads $(WORKLOADS)

.venv-oracle/installed: oracle-constraints.txt
	$(PYTHON) -m venv .venv-oracle
	$(ORACLE_PIP) $(CPU_TORCH)
	$(ORACLE_PIP) --requirement oracle-constraints.txt
	for older in 0.19.0 0.24.0; do \
	    $(ORACLE_PIP) --no-compile --target .venv-oracle/vllm-$$older vllm==$$older || exit 1; done
	touch $@

docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	$(BIN)/python docs/make_reference.py > docs/reference.md
	$(BIN)/python docs/make_house.py > docs/house.md
	$(BIN)/python benchmarks/first_order.py --markdown > docs/first_order.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Of 7,000 modules of the libraries most are never imported: the others are compiled when they are.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@

.venv/compiled: .venv/installed
	$(BIN)/python -m secondorder.simulate.kernels
	touch $@

clean:
	rm -rf .venv .venv-oracle out build dist *.egg-info
