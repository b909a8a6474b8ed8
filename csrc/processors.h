// What a container grants.
#ifndef MLP_PROCESSORS_H
#define MLP_PROCESSORS_H

// How many processors' time the control groups of this process grant it, e.g. 1.5; 0 if there is no limit. root stands
// before every path that is read: "" but for tests.
double mlp_cpu_quota(const char *root);

#endif
