#!/bin/sh
# Python tests that hand arrays to the core, under valgrind, which knows AVX2 but no AVX-512:
#   sh tests/stress/valgrind_python.sh [TEST FILES]
# Of what Python, NumPy and the dynamic loader do nothing is reported that valgrind calls "still reachable"; an error
# with a frame of mlpfast in it is a fault.
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp)
PYTHONMALLOC=malloc MLPFAST_ISA=avx2 OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=1 valgrind --log-file="$log" \
    --num-callers=30 python -m pytest -q -p no:cacheprovider "${@:-test_short_ways.py}"
status=$?
echo "errors with a frame of mlpfast: $(grep -cE '(_core|_custom|_fpmode|_kernels)\.' "$log"); $(grep 'ERROR SUMMARY' "$log" | tail -1)"
exit $status
