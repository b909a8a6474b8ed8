"""The C interface, csrc/mlpfast.h, for Cython programs: `from mlpfast.mlpfast cimport mlp_predict`. They are compiled
and linked with what `python -m mlpfast config --cflags --libs` prints."""
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "mlpfast.h":
    ctypedef enum mlp_activation:
        MLP_IDENTITY, MLP_RELU, MLP_LEAKY_RELU, MLP_ELU, MLP_SELU, MLP_HARD_SIGMOID, MLP_SIGMOID, MLP_TANH, MLP_EXP,
        MLP_SIGN, MLP_SOFTMAX, MLP_PRELU, MLP_GELU, MLP_GELU_TANH, MLP_SILU, MLP_MISH, MLP_SOFTPLUS, MLP_SOFTSIGN,
        MLP_HARD_SWISH, MLP_CUSTOM_ACTIVATION, MLP_ACTIVATIONS
    ctypedef enum mlp_loss_kind:
        MLP_CROSS_ENTROPY, MLP_BINARY_CROSS_ENTROPY, MLP_HALF_SQUARED_ERROR, MLP_SQUARED_ERROR, MLP_ABSOLUTE_ERROR,
        MLP_HUBER, MLP_QUANTILE, MLP_LOG_COSH, MLP_CUSTOM_LOSS, MLP_POISSON, MLP_PERCEPTRON, MLP_HINGE,
        MLP_PER_OUTPUT, MLP_GAUSSIAN_NLL, MLP_COX_PH, MLP_LOSSES
    ctypedef enum mlp_optimizer:
        MLP_SGD, MLP_ADAM, MLP_RMSPROP, MLP_ADAGRAD, MLP_RPROP, MLP_OPTIMIZERS
    ctypedef enum mlp_status:
        MLP_OK, MLP_NO_MEMORY, MLP_BAD_ARGUMENT, MLP_TOO_LARGE, MLP_INTERRUPTED
        MLP_INPUT_NOT_FINITE, MLP_LOSS_NOT_FINITE, MLP_DERIVATIVE_NOT_FINITE, MLP_BAD_BUILD, MLP_NOT_BUILT
        MLP_BAD_FILE, MLP_NEEDS_PYTHON, MLP_BUFFER_TOO_SMALL
    int MLP_VERSION
    ctypedef enum mlp_dtype:
        MLP_FLOAT32, MLP_FLOAT64, MLP_UINT8
    ctypedef struct mlp_custom_activation:
        int (*forward)(void *, void *, void *, const void *, int64_t, int64_t) noexcept nogil
        int (*backward)(void *, void *, void *, const void *, int64_t, int64_t) noexcept nogil
        void *self
    ctypedef struct mlp_data:
        size_t size
        const void *X
        mlp_dtype x_type
        double x_scale
        const int32_t *labels
        const void *targets
        int one_hot
        const void *weights
        int64_t n
        double mean_weight
        const void *y
        int64_t y_bytes
        const int64_t *x_rows
        int64_t n_x
        int64_t target_cols
        const void *entry_weights
    ctypedef struct mlp_truth:
        const int32_t *labels
        const void *targets
        const void *y
        const void *weights
        int one_hot
        const void *entry_weights
        int64_t target_cols
    ctypedef struct mlp_custom_loss:
        int (*rows)(void *, void *, void *, double *, const void *, const mlp_truth *, int64_t, int64_t) noexcept nogil
        int of_z
        void *self
    ctypedef struct mlp_output_block:
        int64_t first, count
        mlp_activation activation
        double alpha
    ctypedef struct mlp_loss_block:
        mlp_output_block of
        int64_t y_first
        double factor
        mlp_loss_kind kind
        double parameter, label_smoothing
    ctypedef struct mlp_loss:
        size_t size
        mlp_loss_kind kind
        double parameter, label_smoothing
        mlp_custom_loss custom
        const mlp_loss_block *blocks
        int64_t n_blocks
    ctypedef struct mlp_layer_spec:
        size_t size
        int64_t n_in, n_out
        mlp_activation activation
        double alpha
        int shared, has_bias, trainable
        double dropout, l1, l2
        int may_drop, has_mask
        mlp_custom_activation custom
        const mlp_output_block *blocks
        int64_t n_blocks
    ctypedef struct mlp_network:
        pass
    ctypedef struct mlp_trainer:
        pass
    ctypedef struct mlp_result:  # without its size: Python has it as a dict, which files hold
        double loss_sum, weight_sum, correct, exact
        int64_t rows, minibatches
        double bad_loss, row_loss_sum, row_l2_sum
    ctypedef struct mlp_settings:
        size_t size
        mlp_optimizer optimizer
        double lr, momentum
        int nesterov
        double beta1, beta2, epsilon
        int epsilon_hat
        double shrink, grow, least_step, most_step
        double weight_decay, clip_value, clip_norm, max_norm, l1, l2, input_dropout, input_noise
        int64_t chunk_rows
        uint64_t seed
        int check_finite, sum_l2
    ctypedef int (*mlp_poll)(void *) noexcept nogil

    mlp_status mlp_select_isa(const char *)
    const char *mlp_isa()
    const char *mlp_isa_available(int)
    const char *mlp_compiler()
    const char *mlp_threading()
    int mlp_processors()
    int mlp_max_threads()
    mlp_data mlp_data_init()
    mlp_layer_spec mlp_layer_spec_init()
    mlp_loss mlp_loss_init()
    mlp_result mlp_result_init()
    mlp_settings mlp_settings_init()
    mlp_epoch_part mlp_epoch_part_init()
    mlp_gradient_options mlp_gradient_options_init()
    int mlp_version()
    mlp_status mlp_self_check() nogil
    mlp_status mlp_network_create(mlp_network **, mlp_dtype, const mlp_layer_spec *, int) nogil
    void mlp_network_destroy(mlp_network *) nogil
    void *mlp_network_weights(const mlp_network *, int)
    void *mlp_network_bias(const mlp_network *, int)
    void *mlp_network_slopes(const mlp_network *, int)
    void *mlp_network_mask(const mlp_network *, int)
    void mlp_network_set_trainable(mlp_network *, int, int)
    mlp_status mlp_network_set_dropout(mlp_network *, int, double)
    mlp_status mlp_network_set_l2(mlp_network *, int, double)
    mlp_status mlp_network_set_lr_factors(mlp_network *, int, double, double)
    int64_t mlp_network_stride(const mlp_network *, int)
    int64_t mlp_network_n_in(const mlp_network *)
    int64_t mlp_network_n_out(const mlp_network *)
    mlp_dtype mlp_network_dtype(const mlp_network *)
    ctypedef struct mlp_named_custom:
        const char *name
        mlp_custom_activation activation
    ctypedef struct mlp_file:
        size_t size
        const mlp_named_custom *customs
        int64_t n_customs
        double input_scale, input_dropout, input_noise
        uint64_t seed
        const char *problem
        size_t at
    mlp_file mlp_file_init()
    mlp_status mlp_network_load(mlp_network **, const void *, size_t, mlp_file *)
    mlp_status mlp_network_save(const mlp_network *, void *, size_t, size_t *, const mlp_file *)
    int MLP_ORDER_VERSION
    mlp_status mlp_network_transform_inputs(mlp_network *, const double *, const double *)
    int mlp_network_first_not_finite(const mlp_network *) nogil
    size_t mlp_network_bytes(const mlp_network *)
    void *mlp_network_in_block(const mlp_network *, void *, const void *)
    size_t mlp_predict_workspace(const mlp_network *, int64_t, int) nogil
    mlp_status mlp_predict(const mlp_network *, void *, const mlp_data *, void *, int, mlp_poll, void *) nogil
    mlp_status mlp_predict_sample(const mlp_network *, void *, const mlp_data *, double, uint64_t, int64_t, void *, int,
                                  mlp_poll, void *) nogil
    mlp_status mlp_evaluate(const mlp_network *, mlp_result *, const mlp_data *, const mlp_loss *, void *, int,
                            mlp_poll, void *) nogil
    mlp_status mlp_evaluate_part(const mlp_network *, mlp_result *, const mlp_data *, const mlp_loss *, void *, int,
                                 mlp_poll, void *) nogil
    mlp_status mlp_trainer_create(mlp_trainer **, mlp_network *, const mlp_loss *, int64_t) nogil
    void mlp_trainer_destroy(mlp_trainer *) nogil
    mlp_status mlp_trainer_prepare(mlp_trainer *, const mlp_settings *) nogil
    int mlp_trainer_states(const mlp_trainer *)
    mlp_optimizer mlp_trainer_optimizer(const mlp_trainer *)
    void *mlp_trainer_state(const mlp_trainer *, int, const void *)
    int64_t mlp_trainer_updates(const mlp_trainer *, int)
    void mlp_trainer_set_updates(mlp_trainer *, int, int64_t)
    int64_t mlp_trainer_steps(const mlp_trainer *)
    void mlp_trainer_set_steps(mlp_trainer *, int64_t)
    void mlp_order(int64_t *, int64_t, int64_t, int64_t, uint64_t, uint64_t) nogil
    ctypedef struct mlp_epoch_part:
        size_t size
        int64_t first, count, batch_size
        const double *rates
        const double *momenta
        const double *dropout
        const double *l2
        int64_t goes_on
    mlp_status mlp_train_epoch_part(mlp_trainer *, mlp_result *, const mlp_data *, const int64_t *, int64_t,
                                    const mlp_epoch_part *, const mlp_settings *, int, mlp_poll, void *) nogil
    mlp_status mlp_train_step(mlp_trainer *, mlp_result *, const mlp_data *, const mlp_settings *, int, mlp_poll,
                              void *) nogil
    ctypedef struct mlp_gradient_options:
        size_t size
        double scale
        int64_t first_row
        int undisturbed, unpenalised, frozen_too
    mlp_status mlp_gradient(mlp_trainer *, void *, mlp_result *, const mlp_data *, const mlp_gradient_options *,
                            const mlp_settings *, int, mlp_poll, void *) nogil
    mlp_status mlp_apply(mlp_trainer *, const void *, const mlp_settings *, int) nogil
    void mlp_random_uniform(double *, int64_t, int64_t, uint64_t, uint64_t) nogil
    void mlp_random_normal(double *, int64_t, int64_t, uint64_t, uint64_t) nogil
    int mlp_network_n_layers(const mlp_network *)
    mlp_status mlp_network_layer(const mlp_network *, int, mlp_layer_spec *)
    mlp_status mlp_train_epoch(mlp_trainer *, mlp_result *, const mlp_data *, const int64_t *, int64_t,
                               const mlp_settings *, const double *, const double *, int, mlp_poll, void *) nogil
