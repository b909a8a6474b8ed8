// Prints the numbers of mlp_self_check, as csrc/self_check.inc.h has them: for a change of bits that is meant.
#include <stdio.h>

#include "self_check.h"

int main(void) {
    double numbers[MLP_CHECKED];
    for (int type = 0; type < 2; type++) {
        if (mlp_checked_numbers(numbers, type ? MLP_FLOAT64 : MLP_FLOAT32)) return 1;
        puts("{");
        for (int i = 0; i < MLP_CHECKED; i++) {
            printf("%s%a,%s", i % 4 ? " " : "    ", numbers[i], i % 4 == 3 ? "\n" : "");
        }
        puts("},");
    }
    return 0;
}
