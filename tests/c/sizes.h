// The sizes that structs of the interface begin with, for designated initializers: {LOSS, .kind = ...}.
#ifndef MLP_TEST_SIZES_H
#define MLP_TEST_SIZES_H

#define LAYER .size = sizeof(mlp_layer_spec)
#define DATA .size = sizeof(mlp_data)
#define LOSS .size = sizeof(mlp_loss)
#define SETTINGS .size = sizeof(mlp_settings)
#define PART .size = sizeof(mlp_epoch_part)
#define OPTIONS .size = sizeof(mlp_gradient_options)

#endif
