// Helpers: threads that take parts of calls. There is one crew of them in a process, which all callers share.
#ifndef MLP_HELPERS_H
#define MLP_HELPERS_H

#include "slot.h"

// Makes that many helpers if there are fewer, and does not wait for them. Returns 0 if none can be made.
int mlp_helpers_make(int n);
// How many were asked for, and how many are awake.
int mlp_helpers_wanted(void);
int mlp_helpers_awake(void);
// What waking one takes, in seconds, on average over the last few.
double mlp_helpers_wake_seconds(void);
// Gives places of slot that nobody has to helpers that are awake or, if sleepers, asleep. Returns how many it woke.
int mlp_helpers_recruit(mlp_slot *slot, int parts, int sleepers);
// Before a fork helpers finish the parts they hold, and leave; none can be made until it is over.
void mlp_helpers_before_fork(void);
void mlp_helpers_after_fork(void);

#endif
