// Prints the sizes of the structs of mlpfast.h, where their last field ends, and the numbers of its enums: what
// programs that were compiled with it have in them. A line that stands in abi.txt may change only before version 1.0,
// and there with MLP_VERSION_MINOR; new structs, fields behind the others, numbers and symbols are new lines, or larger
// sizes.
#include <stddef.h>
#include <stdio.h>

#include "mlpfast.h"

#define SIZE(type, last) \
    printf("%s %zu, of which %zu are used\n", #type, sizeof(type), offsetof(type, last) + sizeof(((type *)0)->last))
#define NUMBER(name) printf("%s %d\n", #name, (int)name)
#define ROW(number, NAME, ...) NUMBER(MLP_##NAME);

int main(void) {
    SIZE(mlp_custom_activation, self);
    SIZE(mlp_truth, one_hot);
    SIZE(mlp_custom_loss, self);
    SIZE(mlp_output_block, alpha);
    SIZE(mlp_loss_block, label_smoothing);
    SIZE(mlp_loss, n_blocks);
    SIZE(mlp_layer_spec, n_blocks);
    SIZE(mlp_named_custom, activation);
    SIZE(mlp_file, at);
    SIZE(mlp_data, n_x);
    SIZE(mlp_result, row_l2_sum);
    SIZE(mlp_settings, sum_l2);
    SIZE(mlp_epoch_part, goes_on);
    SIZE(mlp_gradient_options, frozen_too);
    NUMBER(MLP_OK), NUMBER(MLP_NO_MEMORY), NUMBER(MLP_BAD_ARGUMENT), NUMBER(MLP_TOO_LARGE), NUMBER(MLP_INTERRUPTED);
    NUMBER(MLP_INPUT_NOT_FINITE), NUMBER(MLP_LOSS_NOT_FINITE), NUMBER(MLP_DERIVATIVE_NOT_FINITE);
    NUMBER(MLP_BAD_BUILD), NUMBER(MLP_NOT_BUILT), NUMBER(MLP_BAD_FILE), NUMBER(MLP_NEEDS_PYTHON);
    NUMBER(MLP_BUFFER_TOO_SMALL);
    NUMBER(MLP_FLOAT32), NUMBER(MLP_FLOAT64), NUMBER(MLP_UINT8);
    MLP_ACTIVATION_ROWS(ROW)
    MLP_LOSS_ROWS(ROW)
    MLP_OPTIMIZER_ROWS(ROW)
    return 0;
}
