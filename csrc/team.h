// Threads: one team for a whole call, cheap barriers inside. team.c is the only file that knows OpenMP.
#ifndef MLP_TEAM_H
#define MLP_TEAM_H

#include <stdint.h>

typedef struct mlp_team mlp_team;

// What a member of a team needs to know; passed to every function that runs on it.
typedef struct {
    mlp_team *team;
    int rank, size;  // 0 <= rank < size
    unsigned turn;   // barriers crossed
} mlp_member;

// Runs work on up to threads threads, the caller among them as rank 0, each in the core's floating-point mode, and
// returns 1 when all have ended. 0: work forked the process on rank 0, and this is the child: the others are in the
// parent, and what they had to do is not done.
int mlp_team_run(int threads, void (*work)(void *context, mlp_member *member), void *context);

// Every member of the team waits here for the others; what they wrote before is visible after.
void mlp_team_barrier(mlp_member *member);

// How many threads are worth entering for phases of that many floating-point operations, when `asked` were asked for:
// asked > 0 is taken as it is; otherwise the work decides, at most -asked if negative. Never more than there are
// processors, unless that was allowed. The bound is the most it can be, whatever has been set since: it depends on its
// arguments alone.
int mlp_team_bound(int asked, double flops_per_phase);
int mlp_team_size(int asked, double flops_per_phase);

// By a clock that never goes back.
double mlp_seconds(void);

// How many forks there were from the process that loaded the library to this one. Once it has grown, what other threads
// had begun will not be ended here.
int mlp_forks(void);
// This thread, and the one that came through the last fork, as numbers that other threads do not have; 0 for none.
unsigned long mlp_this_thread(void);
unsigned long mlp_survivor(void);

// Around a few instructions. A child forked meanwhile has a copy of the lock that nobody will give back: it may take it.
void mlp_lock(int *lock);
void mlp_unlock(int *lock);

// Part `number` of 0..n-1 cut into `of` parts: [*begin, *end), contiguous, in whole units but for the last.
static inline void mlp_share(int number, int of, int64_t n, int64_t unit, int64_t *begin, int64_t *end) {
    *begin = 0, *end = n;
    if (of == 1) return;  // divisions are no small part of a small step
    int64_t units = n / unit + (n % unit != 0), each = units / of, more = units % of;
    int64_t first = number * each + (number < more ? number : more);
    int64_t last = first + each + (number < more);
    *begin = first * unit;
    *end = last * unit < n ? last * unit : n;
    if (*begin > n) *begin = n;
}

#endif
