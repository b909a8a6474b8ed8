// Threads: a caller does its work in phases of parts; helpers take parts of it if they are there. The caller waits for
// a helper only while that one holds a part.
#ifndef MLP_CREW_H
#define MLP_CREW_H

#include <stdint.h>

#include "fpmode.h"

// Part `number` of `of` equal ones. All parts of a phase can be computed concurrently, by any threads: the results must
// not depend on who computes a part.
typedef struct {
    int number, of;
} mlp_part;

typedef void mlp_work(void *context, mlp_part part);

typedef struct mlp_slot mlp_slot;

// A call of the library that has phases, by the thread that entered it.
typedef struct mlp_call {
    struct mlp_call *outer;  // the call of the same thread that it was made in
    int most;        // parts that memory was reserved for
    int parts;       // into which phases are cut from now on
    mlp_slot *slot;  // where helpers look for parts; NULL: none will come
    double seconds;  // that the whole call would take one thread, about
    double began;    // when it began to work alone
    double posted, waited;  // of the last phase: when, or 0; seconds that the caller waited for helpers
    int computed;           // and how many of its parts the caller computed
    mlp_fpmode callers_mode;
} mlp_call;

// The caller enters the core's floating-point mode; helpers are in it. parts: at most, from mlp_crew_size. flops: of
// the whole call, about; INFINITY if it is long.
void mlp_call_begin(mlp_call *call, int parts, double flops);
// Looks again which helpers are there: sets call->parts.
void mlp_call_refresh(mlp_call *call);
// Computes all parts of a phase, and returns when they are done.
void mlp_call_run(mlp_call *call, mlp_work *work, void *context);
void mlp_call_end(mlp_call *call);

// How many parts are worth having for phases of that many floating-point operations, when `asked` threads were asked
// for: asked > 0 is taken as it is; otherwise the work decides, at most -asked if negative. Never more than there are
// processors, unless that was allowed. The bound is the largest possible value for the same arguments.
int mlp_crew_bound(int asked, double flops_per_phase);
int mlp_crew_size(int asked, double flops_per_phase);
// The largest size for asked = 0, as the processors were last counted.
int mlp_crew_limit(void);
// What is left of `parts` parts where `others` other callers are at work: they divide the processors.
int mlp_crew_share(int parts, int others);
// For tests. With a nonzero argument, calls may use more threads than there are processors, also for little work, and
// their work is cut into that many parts, even if fewer threads come. By default it is not, since such threads only
// wait for each other.
void mlp_allow_oversubscription(int allowed);
int mlp_crew_oversubscribes(void);

// Part `number` of 0..n-1 cut into `of` parts: [*begin, *end), contiguous, in whole units but for the last.
static inline void mlp_share(mlp_part part, int64_t n, int64_t unit, int64_t *begin, int64_t *end) {
    *begin = 0, *end = n;
    if (part.of == 1) return;  // divisions are a considerable part of a small step
    int64_t units = n / unit + (n % unit != 0), each = units / part.of, more = units % part.of;
    int64_t first = part.number * each + (part.number < more ? part.number : more);
    int64_t last = first + each + (part.number < more);
    *begin = first * unit;
    *end = last * unit < n ? last * unit : n;
    if (*begin > n) *begin = n;
}

#endif
