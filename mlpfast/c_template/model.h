// $description
//
// ${name}_predict is mlpfast's `predict` of one row: y ($n_out) = f(x ($n_in)). It allocates nothing, keeps no state,
// makes no system call, and may be called by any number of threads at once. It takes some $stack bytes of the stack.
// ${name}_predict_batch does the same for n rows, x (n, $n_in) and y (n, $n_out). y must not overlap x.
//
// What results are worth, and the self-test: see $c_file.
#ifndef ${NAME}_H
#define ${NAME}_H

#include <stddef.h>
#include <stdint.h>

#define ${NAME}_N_IN $n_in
#define ${NAME}_N_OUT $n_out

#ifdef __cplusplus
extern "C" {
#endif

void ${name}_predict(const $input *x, $real *y);
void ${name}_predict_batch(const $input *x, $real *y, size_t n);

#ifdef __cplusplus
}
#endif

#endif
