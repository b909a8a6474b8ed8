// The numbers of mlp_self_check.
#ifndef MLP_SELF_CHECK_H
#define MLP_SELF_CHECK_H

#include "mlpfast.h"

#define MLP_CHECKED_FORWARD 60   // functions, and predictions
#define MLP_CHECKED_TRAINING 84  // parameters
#define MLP_CHECKED (MLP_CHECKED_FORWARD + MLP_CHECKED_TRAINING)

// Computes them with the kernels in use: those of the training only if that is built. numbers: (MLP_CHECKED).
mlp_status mlp_checked_numbers(double *numbers, mlp_dtype dtype);

#endif
