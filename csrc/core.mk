# How the core is compiled: read by setup.py (lines NAME = value) and by tests/c/Makefile.

# All but mlpfast_all.c, which includes others.
CORE_SOURCES = [!m]*.c minibatch.c isa/*.c os/*.c

# -ffp-contract=off: fused multiply-adds are written out, the compiler may neither make nor split any.
CORE_FLAGS = -std=c11 -O3 -ffp-contract=off -fno-math-errno -fvisibility=hidden
# Where helper threads come from, one of these or neither; on Windows -DMLP_PTHREADS takes its own threads.
OPENMP = -fopenmp
PTHREADS = -pthread -DMLP_PTHREADS
# Linking with helper threads, except on Windows and macOS: a plugin that is closed stays in memory, where they sleep.
STAYS = -Wl,-z,nodelete

CORE_WARNINGS = -Wall -Wextra -Wconversion -Werror
