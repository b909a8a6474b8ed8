// The CPU quota of the container that the process runs in.
#ifndef MLP_PROCESSORS_H
#define MLP_PROCESSORS_H

// The CPU time that the control groups of this process allow it, in processors, e.g. 1.5; 0 without a limit. root is
// prefixed to every path that is read: "" except in tests.
double mlp_cpu_quota(const char *root);

#endif
