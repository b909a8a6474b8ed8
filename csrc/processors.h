// The processors that the process may use: see also mlp_processors in mlpfast.h.
#ifndef MLP_PROCESSORS_H
#define MLP_PROCESSORS_H

// What mlp_processors returned last, if there were several: without a look at the clock.
int mlp_processors_last_counted(void);

#endif
