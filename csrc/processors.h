// The processors that the process may use: see also mlp_processors in mlpfast.h.
#ifndef MLP_PROCESSORS_H
#define MLP_PROCESSORS_H

// The CPU time that the control groups of this process allow it, in processors, e.g. 1.5; 0 without a limit. root is
// prefixed to every path that is read: "" except in tests.
double mlp_cpu_quota(const char *root);

// What mlp_processors returned last, if there were several: without a look at the clock.
int mlp_processors_last_counted(void);

#endif
