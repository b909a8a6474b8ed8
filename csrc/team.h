// Threads: one team for a whole call, with cheap barriers. team.c is the only file that uses OpenMP.
#ifndef MLP_TEAM_H
#define MLP_TEAM_H

#include <stdint.h>

typedef struct mlp_team mlp_team;

// One thread of a team, passed to the function that it runs.
typedef struct {
    mlp_team *team;
    int rank, size;  // 0 <= rank < size
    unsigned turn;   // barriers crossed
} mlp_member;

// Runs `work` on up to `threads` threads, each in the core's floating-point mode; the calling thread is rank 0. Returns
// 1 when all have finished. Returns 0 in a child process if `work` forked on rank 0: the other members exist only in
// the parent, and their part of the work is not done.
int mlp_team_run(int threads, void (*work)(void *context, mlp_member *member), void *context);

// Waits until all members have called it; what they wrote before is visible afterwards.
void mlp_team_barrier(mlp_member *member);

// The number of threads to use for phases of flops_per_phase floating-point operations each. asked > 0: that many;
// asked <= 0: as many as the work is worth, at most -asked if negative. Never more than there are processors, unless
// mlp_allow_oversubscription was called. mlp_team_bound is an upper bound of mlp_team_size that depends on its
// arguments only, for sizing memory.
int mlp_team_bound(int asked, double flops_per_phase);
int mlp_team_size(int asked, double flops_per_phase);

// Seconds of a monotonic clock.
double mlp_seconds(void);

// The number of forks between the process that loaded the library and this one. When it has grown, other threads do not
// exist here, so what they had begun will not be finished.
int mlp_forks(void);
// Ids of the calling thread and of the thread that called the last fork, 0 if there was none.
unsigned long mlp_this_thread(void);
unsigned long mlp_survivor(void);

// A spin lock for a few instructions. A child forked while another thread held it can take it, since the holder does
// not exist there.
void mlp_lock(int *lock);
void mlp_unlock(int *lock);

// [*begin, *end) = part `number` of 0..n-1 divided into `of` contiguous parts, each a multiple of `unit` except the
// last.
static inline void mlp_share(int number, int of, int64_t n, int64_t unit, int64_t *begin, int64_t *end) {
    *begin = 0, *end = n;
    if (of == 1) return;  // integer divisions are a measurable part of a small step
    int64_t units = n / unit + (n % unit != 0), each = units / of, more = units % of;
    int64_t first = number * each + (number < more ? number : more);
    int64_t last = first + each + (number < more);
    *begin = first * unit;
    *end = last * unit < n ? last * unit : n;
    if (*begin > n) *begin = n;
}

#endif
