// The activations, losses and optimizers: a row for each, with its traits. The enums of the interface, and the core's
// switches and checks (traits.h), are generated from the rows, and Python reads them at import.
//
// A number is never reused, even after its row is removed, since compiled programs contain it: a new row takes the next
// number. The names of a row's functions follow from its name, as described below. Programs need the enums alone.
#ifndef MLP_VOCABULARY_H
#define MLP_VOCABULARY_H

// ---- Activations: formulas in mlpfast/activations.py; name_value and name_derivative in kernels/activation.inc.h ----

enum {
    MLP_IN_Z = 1,               // the derivative is computed from z, which is stored; without it from a = g(z)
    MLP_APART = 2,              // its derivative is a separate pass, which needs whole rows or d loss / d a
    MLP_HAS_ALPHA = 4,          // has a parameter alpha >= least_alpha
    MLP_LEARNS_ALPHA = 8,       // alpha is learned: slopes, one per unit or shared by all
    MLP_RECTIFIER = 16,         // like ReLU: a unit with z <= 0 on all examples is dead
    MLP_SATURATES = 32,         // the derivative tends to 0 for large |z|
    MLP_STOPS = 64,             // the derivative is 0 everywhere
    MLP_SHARE = 128,            // values in [0, 1]: a single output above 1/2 predicts class 1
};

// X(number, NAME, name, traits, other members of mlp_activation_row)
#define MLP_ACTIVATION_ROWS(X) \
    X(0, IDENTITY, identity, 0) \
    X(1, RELU, relu, MLP_RECTIFIER) \
    X(2, LEAKY_RELU, leaky_relu, MLP_HAS_ALPHA | MLP_RECTIFIER) \
    X(3, ELU, elu, MLP_HAS_ALPHA | MLP_RECTIFIER) \
    X(4, SELU, selu, MLP_RECTIFIER) \
    X(5, HARD_SIGMOID, hard_sigmoid, MLP_SATURATES | MLP_SHARE) \
    X(6, SIGMOID, sigmoid, MLP_SATURATES | MLP_SHARE) \
    X(7, TANH, tanh, MLP_SATURATES) \
    X(8, EXP, exp, 0) \
    X(9, SIGN, sign, MLP_SATURATES | MLP_STOPS) \
    X(10, SOFTMAX, softmax, MLP_APART) \
    X(11, PRELU, prelu, MLP_IN_Z | MLP_APART | MLP_HAS_ALPHA | MLP_LEARNS_ALPHA | MLP_RECTIFIER, \
      .least_alpha = -INFINITY) \
    X(12, GELU, gelu, MLP_IN_Z | MLP_RECTIFIER) \
    X(13, GELU_TANH, gelu_tanh, MLP_IN_Z | MLP_RECTIFIER) \
    X(14, SILU, silu, MLP_IN_Z | MLP_RECTIFIER) \
    X(15, MISH, mish, MLP_IN_Z | MLP_RECTIFIER) \
    X(16, SOFTPLUS, softplus, MLP_IN_Z | MLP_RECTIFIER) \
    X(17, SOFTSIGN, softsign, MLP_IN_Z | MLP_SATURATES) \
    X(18, HARD_SWISH, hard_swish, MLP_IN_Z | MLP_RECTIFIER) \
    X(19, CUSTOM_ACTIVATION, custom, MLP_IN_Z | MLP_APART) /* mlp_custom_activation */

#define MLP_ENUMERATOR(number, NAME, ...) MLP_##NAME = number,
typedef enum {
    MLP_ACTIVATION_ROWS(MLP_ENUMERATOR)
    MLP_ACTIVATIONS,  // larger than every number
} mlp_activation;

// ---- Losses: formulas in mlpfast/losses.py; functions in kernels/loss.inc.h by the row's form ----

enum {
    MLP_OF_Z = 1,      // a function of z_L that contains the output activation; without it of a_L
    MLP_BY_CLASS = 2,  // takes class numbers
    MLP_ONE_HOT = 4,   // with several outputs, class numbers are converted to one-hot rows for it
    MLP_COUNTS = 8,    // counts correct predictions, since y are classes
    MLP_SMOOTHS = 16,  // takes label_smoothing
    MLP_BY_ENTRY = 32, // a sum over entries of y, which may have weights of their own
    MLP_OWN_Y = 64,    // y has another number of columns than there are outputs: mlp_y_columns
    MLP_JOINS = 128,   // the loss of a row depends on the other rows of its minibatch
};

// X(number, NAME, name, form, y, traits, other members of mlp_loss_row)
// form: TERMS, a sum over the outputs of name_term; ROWS, by name_rows; TERMS_OR_ROWS, name_rows for class numbers;
// BLOCKS, losses of parts of the outputs (mlp_loss_block); JOINED, by cox.c; CUSTOM.
#define MLP_LOSS_ROWS(X) \
    X(0, CROSS_ENTROPY, cross_entropy, ROWS, MLP_Y_DISTRIBUTIONS, MLP_OF_Z | MLP_BY_CLASS | MLP_COUNTS | MLP_SMOOTHS, \
      .natural = MLP_OUTPUT(SOFTMAX), .outputs = MLP_OUTPUT(SOFTMAX) | MLP_OUTPUT(IDENTITY)) \
    X(1, BINARY_CROSS_ENTROPY, binary_cross_entropy, TERMS, MLP_Y_PROBABILITIES, \
      MLP_OF_Z | MLP_ONE_HOT | MLP_COUNTS | MLP_SMOOTHS | MLP_BY_ENTRY, \
      .natural = MLP_OUTPUT(SIGMOID), .outputs = MLP_OUTPUT(SIGMOID) | MLP_OUTPUT(IDENTITY)) \
    X(2, HALF_SQUARED_ERROR, half_squared_error, TERMS, MLP_Y_NUMBERS, MLP_ONE_HOT | MLP_BY_ENTRY, \
      .natural = MLP_OUTPUT(IDENTITY)) \
    X(3, SQUARED_ERROR, squared_error, TERMS, MLP_Y_NUMBERS, MLP_ONE_HOT | MLP_BY_ENTRY) \
    X(4, ABSOLUTE_ERROR, absolute_error, TERMS, MLP_Y_NUMBERS, MLP_BY_ENTRY) \
    X(5, HUBER, huber, TERMS, MLP_Y_NUMBERS, MLP_BY_ENTRY, .above = 0, .below = INFINITY) \
    X(6, QUANTILE, quantile, TERMS, MLP_Y_NUMBERS, MLP_BY_ENTRY, .above = 0, .below = 1) \
    X(7, LOG_COSH, log_cosh, TERMS, MLP_Y_NUMBERS, MLP_BY_ENTRY) \
    X(8, CUSTOM_LOSS, custom, CUSTOM, MLP_Y_NUMBERS, 0) /* mlp_custom_loss */ \
    X(9, POISSON, poisson, TERMS, MLP_Y_NOT_NEGATIVE, MLP_OF_Z | MLP_BY_ENTRY, \
      .outputs = MLP_OUTPUT(EXP) | MLP_OUTPUT(SOFTPLUS) | MLP_OUTPUT(IDENTITY)) \
    X(10, PERCEPTRON, perceptron, TERMS, MLP_Y_SIGNS, MLP_OF_Z | MLP_COUNTS | MLP_BY_ENTRY, \
      .outputs = MLP_OUTPUT(IDENTITY) | MLP_OUTPUT(SIGN)) \
    X(11, HINGE, hinge, TERMS_OR_ROWS, MLP_Y_SIGNS, MLP_OF_Z | MLP_BY_CLASS | MLP_COUNTS | MLP_BY_ENTRY, \
      .outputs = MLP_OUTPUT(IDENTITY) | MLP_OUTPUT(SIGN)) \
    X(12, PER_OUTPUT, per_output, BLOCKS, MLP_Y_NUMBERS, MLP_OF_Z | MLP_BY_ENTRY | MLP_OWN_Y) /* mlp_loss_block */ \
    X(13, GAUSSIAN_NLL, gaussian_nll, ROWS, MLP_Y_NUMBERS, MLP_OF_Z | MLP_BY_ENTRY | MLP_OWN_Y, \
      .outputs = MLP_OUTPUT(IDENTITY)) \
    X(14, COX_PH, cox_ph, JOINED, MLP_Y_NUMBERS, MLP_OF_Z | MLP_OWN_Y | MLP_JOINS, .outputs = MLP_OUTPUT(IDENTITY))

typedef enum {
    MLP_LOSS_ROWS(MLP_ENUMERATOR)
    MLP_LOSSES,
} mlp_loss_kind;

// ---- Optimizers: formulas in mlpfast/optimizers.py; name_step in kernels/optimizer.inc.h ----

enum {
    MLP_SQUARES = 1,   // squares the gradient, which is therefore clipped to MOST_SQUARED
    MLP_CORRECTS = 2,  // bias correction by 1 - beta^t
    MLP_BARE = 4,      // needs no state if momentum is 0
};

// X(number, NAME, name, states per parameter, setting that a schedule may change, traits)
#define MLP_OPTIMIZER_ROWS(X) \
    X(0, SGD, sgd, 1, MLP_MOVES_MOMENTUM, MLP_BARE) \
    X(1, ADAM, adam, 2, MLP_MOVES_BETA1, MLP_SQUARES | MLP_CORRECTS) \
    X(2, RMSPROP, rmsprop, 1, MLP_MOVES_NOTHING, MLP_SQUARES) \
    X(3, ADAGRAD, adagrad, 1, MLP_MOVES_NOTHING, MLP_SQUARES) \
    X(4, RPROP, rprop, 2, MLP_MOVES_NOTHING, 0)
#define MLP_MOST_STATES 2

typedef enum {
    MLP_OPTIMIZER_ROWS(MLP_ENUMERATOR)
    MLP_OPTIMIZERS,
} mlp_optimizer;

#endif
