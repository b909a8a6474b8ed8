# The steps of .ci/run, which calls this in a clean checkout. Each target is a step: one script, that stops at its first
# error. It ends with `passed`, or with `skip` and a reason. Python is tested as it is installed, from an empty folder.
SHELL = bash
.SHELLFLAGS = -euo pipefail -c
.ONESHELL:
.SUFFIXES:

WORK ?= $(error WORK must be the folder that .ci/run has made)
PYTHON ?= python3
SOURCE := $(CURDIR)

define prelude
@echo "======== $@"
passed() { echo "$@ ($$SECONDS s)" >>'$(WORK)/passed'; }
skip() { echo "SKIPPED: $@: $$*" | tee -a '$(WORK)/skipped'; exit 0; }
have() { command -v "$$1" >/dev/null; }
venv() { [[ -d $$1 ]] || $(PYTHON) -m venv "$$1"; export VIRTUAL_ENV=$$1 PATH=$$1/bin:$$PATH; hash -r; }
copy() { mkdir "$$1"; tar -c --exclude=./build --exclude=__pycache__ . | tar -x -C "$$1"; }
info() { python -m mlpfast info | python -c "import json, sys; info = json.load(sys.stdin); print($$1)"; }
use_isa() {  # name, threads
    available=$$(info "' '.join(info['isa_available'])")  # apart: if this fails, nothing may be skipped
    [[ " $$available " == *" $$1 "* ]] || skip "this machine has no $$1"
    export MLPFAST_ISA=$$1 OMP_NUM_THREADS=$$2 OMP_WAIT_POLICY=passive
    [[ $$(info "info['isa']") == "$$1" ]]
}
installed() { python -c 'import sys, mlpfast._core as core; assert core.__file__.startswith(sys.argv[1]), core.__file__' "$$1"; }
endef

# ---- What every change has to pass

ISA_STEPS = $(foreach isa,avx512 avx2 neon generic,$(foreach threads,1 3,isa-$(isa)-$(threads)))

.PHONY: check release benchmarks  # there is a folder of that name
check: readme-test readme-run $(ISA_STEPS) c-gcc c-pthreads c-clang c-sanitized c-threads lint types benchmarks

# Alone, and first: it measures nothing, but what runs beside it would only make it longer; others use what it installs.
readme-test:
	$(prelude)
	venv '$(WORK)/venv'
	PYTEST_ADDOPTS="-ra --durations=10" bash .ci/readme_command test | tee >(grep '^SKIPPED' >>'$(WORK)/skipped')
	cd '$(WORK)/empty'
	installed '$(WORK)/venv/'
	passed

readme-run: readme-test
	$(prelude)
	copy '$(WORK)/source-run'
	cd '$(WORK)/source-run'
	venv '$(WORK)/venv-run'
	bash .ci/readme_command run
	passed

# Which kernels run and on how many threads changes no bit: these tests would see it.
$(ISA_STEPS): isa-%: readme-test
	$(prelude)
	venv '$(WORK)/venv'
	cd '$(WORK)/empty'
	isa=$(word 1,$(subst -, ,$*)); use_isa $$isa $(word 2,$(subst -, ,$*))
	pytest -q -m "not mnist" -p no:cacheprovider '$(SOURCE)'/tests/test_{golden,same_bits,numbers}.py
	passed

C_TESTS = -C tests/c BUILD='$(WORK)/$@' WERROR=1

c-gcc: readme-test
	$(prelude)
	$(MAKE) $(C_TESTS) test-quick golden interface CC=gcc
	[[ $$(uname -m) != x86_64 ]] || $(MAKE) $(C_TESTS) baseline CC=gcc
	passed

c-pthreads: readme-test
	$(prelude)
	$(MAKE) $(C_TESTS) run-test_crew golden CC=gcc ARGS=--quick THREADING=PTHREADS THREADS=3
	passed

c-clang: readme-test
	$(prelude)
	have clang || skip "no clang"
	$(MAKE) $(C_TESTS) test-quick golden interface CC=clang THREADS="1 3"
	passed

c-sanitized: readme-test
	$(prelude)
	$(MAKE) $(C_TESTS) test-quick CC=gcc SANITIZE=address,undefined CFLAGS="-DMLP_POISON -O1"
	passed

# libomp is not instrumented: what it orders by its own means must not look like a race, nor threads that it has yet to
# join at the end like lost ones.
c-threads: readme-test
	$(prelude)
	echo 'int main(void) { return 0; }' >'$(WORK)/probe.c'
	have clang && clang -fopenmp -fsanitize=thread -o '$(WORK)/probe' '$(WORK)/probe.c' ||
	    skip "no clang with OpenMP and ThreadSanitizer"
	export TSAN_OPTIONS=ignore_noninstrumented_modules=1:die_after_fork=0:report_thread_leaks=0
	$(MAKE) $(C_TESTS) run-test_training run-test_network run-test_crew run-test_memory golden CC=clang ARGS=--quick \
	    SANITIZE=thread THREADS="2 3" CFLAGS="-O1 -DMLP_DELAYS"
	passed

lint: readme-test
	$(prelude)
	venv '$(WORK)/venv-lint'
	pip install -q ruff
	ruff check --no-cache .
	passed

types: readme-test
	$(prelude)
	venv '$(WORK)/venv-types'
	pip install -q mypy numpy
	mypy --cache-dir='$(WORK)/mypy' mlpfast
	passed

benchmarks: readme-test
	$(prelude)
	venv '$(WORK)/venv'
	pip install -q cython setuptools threadpoolctl  # the rest of the extra `bench`
	pytest -q benchmarks --benchmark-disable
	passed

# ---- Before a release

EVERY_SUITE = $(foreach isa,avx512 avx2 neon generic,$(foreach threads,1 2 3,suite-$(isa)-$(threads)))

release: check $(EVERY_SUITE) valgrind old-processors neon-emulated one-c-file coverage sanitized-python wheel-gcc \
    wheel-clang serial free-threaded limits plain-gcc plain-clang small-library fuzz stress

$(EVERY_SUITE): suite-%: readme-test
	$(prelude)
	venv '$(WORK)/venv'
	cd '$(WORK)/empty'
	isa=$(word 1,$(subst -, ,$*)); use_isa $$isa $(word 2,$(subst -, ,$*))
	# Plain C takes minutes for what is about processes and threads, whatever the kernels.
	left_out=(--ignore '$(SOURCE)/tests/test_examples.py')
	[[ $$isa != generic ]] || left_out+=(--ignore '$(SOURCE)/tests/test_fork.py' --ignore '$(SOURCE)/tests/test_stress.py' \
	    --ignore '$(SOURCE)/tests/test_thread_count.py' -k "not large_chunks_are_shared")
	pytest -q -m "not mnist" -p no:cacheprovider "$${left_out[@]}" '$(SOURCE)/tests'
	passed

valgrind: readme-test
	$(prelude)
	have valgrind || skip "no valgrind"
	$(MAKE) $(C_TESTS) run-test_network run-test_memory golden CC=gcc ARGS=--quick ISAS=avx2 THREADS=2 \
	    RUN="valgrind -q --error-exitcode=9"
	passed

old-processors: readme-test
	$(prelude)
	have qemu-x86_64 && [[ $$(uname -m) == x86_64 ]] || skip "no qemu-x86_64 on x86-64"
	$(MAKE) $(C_TESTS) golden CC=gcc THREADS=2 RUN="qemu-x86_64 -cpu Nehalem"
	$(MAKE) $(C_TESTS) golden CC=gcc THREADS=2 ISAS=avx2 RUN="qemu-x86_64 -cpu Haswell"
	passed

neon-emulated: readme-test
	$(prelude)
	[[ $$(uname -m) != aarch64 ]] || skip "NEON is this machine's own"
	have aarch64-linux-gnu-gcc && have qemu-aarch64 || skip "no aarch64-linux-gnu-gcc or no qemu-aarch64"
	export TEST_PATIENCE=10
	$(MAKE) $(C_TESTS) test-quick golden CC=aarch64-linux-gnu-gcc RUN="qemu-aarch64 -L /usr/aarch64-linux-gnu" THREADING=NONE THREADS=1
	passed

# Networks as one C file for other processors.
one-c-file: readme-test
	$(prelude)
	venv '$(WORK)/venv'
	pip install -q ziglang || true
	cd '$(WORK)/empty'
	python '$(SOURCE)/.ci/one_c_file.py' | tee >(sed -n 's/^skipped: /SKIPPED: one-c-file: /p' >>'$(WORK)/skipped')
	passed

coverage: readme-test
	$(prelude)
	have clang && have llvm-cov || skip "no clang or no llvm-cov"
	venv '$(WORK)/venv'
	bash .ci/coverage '$(WORK)/coverage'
	passed

# Those that hand arrays to the core, on an extension with AddressSanitizer, UBSan, and NaN in unset memory.
ARRAY_TESTS = arrays bad_input chunks custom_functions entry_weights factors freezing full_batch gaussian_and_cox \
    gradient_and_apply gradients input_transform numbers optimizers order overflow per_output regularisation same_bits \
    short_ways tables training validation_split vocabulary weights
sanitized-python: readme-test
	$(prelude)
	copy '$(WORK)/source-asan'
	venv '$(WORK)/venv-asan'
	flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
	(cd '$(WORK)/source-asan' && CC="gcc $$flags" MLPFAST_POISON=1 pip install -q ".[test]")
	cd '$(WORK)/empty'
	nm -D '$(WORK)'/venv-asan/lib/python*/site-packages/mlpfast/_core*.so | grep __asan_ >/dev/null  # -q breaks pipes
	# Python's own leaks never end. The standard C++ library must come first, or its exceptions are not understood.
	export LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so) $$(gcc -print-file-name=libstdc++.so)"
	export ASAN_OPTIONS=detect_leaks=0
	python -c 'import mlpfast, numpy; assert numpy.isnan(mlpfast.Network([3, 20]).layers[0].W.base[:, 20:]).all()'
	pytest -q -m "not mnist" -p no:cacheprovider $(ARRAY_TESTS:%='$(SOURCE)/tests/test_%.py')
	passed

wheel-gcc wheel-clang: wheel-%: readme-test
	$(prelude)
	have $* || skip "no $*"
	copy '$(WORK)/source-$*'
	venv '$(WORK)/venv'
	CC=$* MLPFAST_WERROR=1 pip wheel -q --no-deps -w '$(WORK)/wheel-$*' '$(WORK)/source-$*'
	pip install -q --no-deps --target '$(WORK)/wheel-$*/site' '$(WORK)/wheel-$*'/*.whl
	cd '$(WORK)/empty'
	export PYTHONPATH='$(WORK)/wheel-$*/site' OMP_WAIT_POLICY=passive
	installed "$$PYTHONPATH/"
	info "'built by ' + info['compiler']" | grep -F '$*'
	pytest -q -p no:cacheprovider '$(SOURCE)'/tests/test_{golden,same_bits}.py
	passed

serial: readme-test
	$(prelude)
	copy '$(WORK)/source-serial'
	venv '$(WORK)/venv-serial'
	(cd '$(WORK)/source-serial' && MLPFAST_OPENMP=0 pip install -q ".[test]")
	cd '$(WORK)/empty'
	[[ $$(info "info['threading']") == none ]]
	pytest -q -m "not mnist" -p no:cacheprovider -k "digits or xor or step or thread or predict" '$(SOURCE)/tests'
	passed

free-threaded: readme-test
	$(prelude)
	free=$$(command -v python3.14t || command -v python3.13t) || skip "no python3.14t or python3.13t"
	copy '$(WORK)/source-free'
	"$$free" -m venv '$(WORK)/venv-free'
	venv '$(WORK)/venv-free'
	(cd '$(WORK)/source-free' && PIP_ONLY_BINARY=:all: pip install -q ".[test]")
	export PYTHON_GIL=0  # some other extension might bring it back
	cd '$(WORK)/empty'
	pytest -q -m "not mnist" -p no:cacheprovider $(ARRAY_TESTS:%='$(SOURCE)/tests/test_%.py') '$(SOURCE)'/tests/test_{fork,stress}.py
	passed

# Whatever the flags, the bits are the same: what makes them so is in the sources.
plain-gcc plain-clang: plain-%: readme-test
	$(prelude)
	have $* || skip "no $*"
	$(MAKE) $(C_TESTS) golden run-test_embedding CC=$* WERROR=0 CORE_FLAGS=-O2 THREADS=2
	passed

# One instruction set, float32 and predictions, without threads.
small-library: readme-test
	$(prelude)
	have cmake || skip "no cmake"
	[[ $$(uname -m) == x86_64 ]] || skip "measured on x86-64"
	cmake -S . -B '$(WORK)/small' -DCMAKE_BUILD_TYPE=MinSizeRel -DMLP_ISAS=avx2 -DMLP_FLOAT64=OFF -DMLP_TRAINING=OFF \
	    -DMLP_THREADS=NONE -DCMAKE_C_COMPILER=gcc -DCMAKE_INSTALL_PREFIX='$(WORK)/small/installed'
	cmake --build '$(WORK)/small' --target install
	library='$(WORK)/small/installed/lib'
	gcc -O2 examples/c/predict.c $$(PKG_CONFIG_PATH="$$library/pkgconfig" pkg-config --cflags --libs mlpfast) -s -o '$(WORK)/small/predict'
	size "$$library/libmlpfast.a" | awk '{bytes += $$1 + $$2} END {print "library: " bytes " bytes"; exit bytes >= 120000}'
	stat -c 'a program with it, stripped: %s bytes' '$(WORK)/small/predict'
	passed

# The reader of files in C, on files that are refused and good ones at first.
fuzz: readme-test
	$(prelude)
	echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' >'$(WORK)/probe_fuzz.c'
	have clang && clang -fsanitize=fuzzer -o '$(WORK)/probe_fuzz' '$(WORK)/probe_fuzz.c' || skip "no clang with libFuzzer"
	venv '$(WORK)/venv'
	python tests/bad_files.py '$(WORK)/corpus'
	$(MAKE) $(C_TESTS) fuzz CC=clang WERROR=0 SECONDS=60 CORPUS='$(WORK)/corpus'
	passed

# Wheel and import: the best of several, since a busy machine is not mlpfast's fault.
limits: wheel-gcc
	$(prelude)
	venv '$(WORK)/venv'
	cd '$(WORK)/empty'
	python '$(SOURCE)/.ci/limits.py' '$(WORK)'/wheel-gcc/*.whl
	passed

stress: $(EVERY_SUITE) limits
	$(prelude)
	venv '$(WORK)/venv'
	cd '$(WORK)/empty'
	stress='$(SOURCE)/tests/stress'
	python "$$stress/forks.py"
	python "$$stress/signals.py"
	python "$$stress/callers.py"
	python "$$stress/changing_arrays.py"
	python "$$stress/leaks.py"
	python "$$stress/subnormals.py"
	passed
