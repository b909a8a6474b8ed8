// The loss of Cox's proportional hazards: the negative log of the partial likelihood, Cox (1972), of the rows of a
// minibatch together, with ties after Efron (1977) and weights as in R's survival package.
//
// Row i has the log hazard eta_i, the time t_i, an event or none, and the weight w_i > 0; rows of weight 0 are as if
// they were not there. With R the rows still at risk at a time t (t_i >= t), D those with an event at t, d their number
// and v the mean of their weights, each time with events adds
//   v sum_{l < d} log(S_R - l/d S_D) - sum_{i in D} w_i eta_i,   S_A = sum_{i in A} w_i e^{eta_i}
// of which the rows of D get the parts v/d sum_l log(...) - w_i eta_i. The derivative in eta_j is
//   w_j e^{eta_j} sum over times t <= t_j of v sum_l (1 - (l/d if j in D)) / (S_R - l/d S_D)   - (w_j if j in a D)
// All in double, in the order of the times, which one thread goes through: once down for S_R, once up for the sum. Both
// are relative to e^m, m the largest eta at risk, so that nothing overflows.
#include "build.h"
#if !defined(MLP_NO_TRAINING)
#include "loss.h"

#include <math.h>
#include <stddef.h>

typedef struct {
    double eta, time, weight;
    double most, at_risk;      // m and S_R e^{-m} of all rows from here on
    int64_t row;
    int event;
} patient;

size_t mlp_joined_bytes(int64_t rows) {
    size_t bytes = 0;
    mlp_reserve(&bytes, rows, 1, sizeof(patient));
    return bytes;
}

static double exp_of(double x) {
    double y;
    mlp_kernels_for(MLP_FLOAT64)->exp(&y, &x, 1);
    return y;
}

static double log_of(double x) {
    double y;
    mlp_kernels_for(MLP_FLOAT64)->log(&y, &x, 1);
    return y;
}

// The order of the times; rows of one time stay in the order of the minibatch.
static int is_before(const patient *a, const patient *b) {
    return a->time < b->time || (a->time == b->time && a->row < b->row);
}

static void sift_down(patient *p, int64_t i, int64_t n) {
    patient moved = p[i];
    for (int64_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && is_before(&p[child], &p[child + 1])) child++;
        if (!is_before(&moved, &p[child])) break;
        p[i] = p[child];
        i = child;
    }
    p[i] = moved;
}

// Heapsort, which needs no memory.
static void sort(patient *p, int64_t n) {
    for (int64_t i = n / 2; i-- > 0;) sift_down(p, i, n);
    for (int64_t end = n - 1; end > 0; end--) {
        patient last = p[end];
        p[end] = p[0], p[0] = last;
        sift_down(p, 0, end);
    }
}

// The end of the rows with the time of row `first`.
static int64_t end_of_time(const patient *p, int64_t first, int64_t n) {
    int64_t end = first + 1;
    while (end < n && p[end].time == p[first].time) end++;
    return end;
}

static void sum_at_risk(patient *p, int64_t n) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = n; i-- > 0;) {
        if (!(p[i].eta <= most)) {  // NaN too, which stays
            sum = sum == 0 ? 0 : sum * exp_of(most - p[i].eta);
            most = p[i].eta;
        }
        sum += p[i].weight * exp_of(p[i].eta - most);
        p[i].most = most, p[i].at_risk = sum;
    }
}

typedef struct {
    int64_t count;      // d
    double weights;     // d v
    double hazards;     // S_D e^{-m}
} events;

static events events_at(const patient *p, int64_t first, int64_t end) {
    events d = {0};
    for (int64_t i = first; i < end; i++) {
        if (!p[i].event) continue;
        d.count++;
        d.weights += p[i].weight;
        d.hazards += p[i].weight * exp_of(p[i].eta - p[first].most);
    }
    return d;
}

// The rows with weight, and their number. Of the others loss and derivative are set, to 0.
static int64_t load(patient *p, void *delta, double *row_loss, const void *out, mlp_dtype dtype,
                    const mlp_truth *truth, int64_t rows) {
    int64_t n = 0;
    for (int64_t i = 0; i < rows; i++) {
        double weight = truth->weights ? mlp_number(truth->weights, dtype, i) : 1;
        row_loss[i] = 0;
        if (delta) mlp_set_number(delta, dtype, i, 0);
        if (weight == 0) continue;
        p[n++] = (patient){.eta = mlp_number(out, dtype, i), .time = mlp_number(truth->targets, dtype, 2 * i),
                           .event = mlp_number(truth->targets, dtype, 2 * i + 1) > 0.5, .weight = weight, .row = i};
    }
    return n;
}

// Of the times up to `first`, which is the first row of its time: what log(S_R - l/d S_D) and its derivatives sum to.
typedef struct {
    double mean;                   // v
    double log_sum;                // the mean of the logs over the l
    double of_events, of_others;   // v sum_l (1 - l/d) / (S_R - l/d S_D), v sum_l 1 / (S_R - l/d S_D), times e^m
} terms;

static terms terms_at(const patient *p, int64_t first, int64_t end) {
    events d = events_at(p, first, end);
    terms t = {0};
    double count = (double)d.count;
    if (d.count == 0) return t;
    t.mean = d.weights / count;
    for (int64_t l = 0; l < d.count; l++) {
        double share = (double)l / count, rest = p[first].at_risk - share * d.hazards;
        t.log_sum += log_of(rest);
        t.of_events += t.mean * (1 - share) / rest;
        t.of_others += t.mean / rest;
    }
    t.log_sum = t.log_sum / count + p[first].most;
    return t;
}

static void losses_and_derivatives(void *delta, double *row_loss, mlp_dtype dtype, const patient *p, int64_t rows) {
    double sum = 0, most = 0;  // of_others of all times so far
    for (int64_t first = 0, end; first < rows; first = end) {
        end = end_of_time(p, first, rows);
        terms t = terms_at(p, first, end);
        if (sum != 0) sum *= exp_of(p[first].most - most);
        most = p[first].most;
        for (int64_t i = first; i < end; i++) {
            double weight = p[i].weight;
            row_loss[p[i].row] = p[i].event ? t.mean * t.log_sum - weight * p[i].eta : 0;
            if (!delta) continue;
            double slope = weight * exp_of(p[i].eta - most) * (sum + (p[i].event ? t.of_events : t.of_others));
            mlp_set_number(delta, dtype, p[i].row, slope - (p[i].event ? weight : 0));
        }
        sum += t.of_others;
    }
}

int mlp_joined_loss(void *delta, double *row_loss, const void *out, mlp_dtype dtype, const mlp_truth *truth,
                    int64_t rows, void *memory) {
    patient *p = memory;
    int64_t n = load(p, delta, row_loss, out, dtype, truth, rows);
    int finite = 1;
    for (int64_t i = 0; i < n; i++) finite &= isfinite(p[i].eta) != 0;
    if (!finite) {  // the rows are joined: no loss is known
        for (int64_t i = 0; i < n; i++) {
            row_loss[p[i].row] = NAN;
            if (delta) mlp_set_number(delta, dtype, p[i].row, NAN);
        }
        return 0;
    }
    sort(p, n);
    sum_at_risk(p, n);
    losses_and_derivatives(delta, row_loss, dtype, p, n);
    for (int64_t i = 0; i < n; i++) finite &= isfinite(row_loss[p[i].row]) != 0;
    return finite;
}
#endif
