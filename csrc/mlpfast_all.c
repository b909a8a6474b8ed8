// The core as one translation unit: a program may compile this file instead of all others, with the options of build.h.
//
//     cc -O2 -c mlpfast_all.c                                            threads: none; -fopenmp, or -pthread -DMLP_PTHREADS
//     cc -O2 -DMLP_NO_TRAINING -DMLP_NO_FLOAT64 -c mlpfast_all.c         predictions in float32 alone
