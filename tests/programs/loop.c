/* A loop of malloc and free pairs of 64 bytes, its length the argument: the difference of two lengths is the cost of a pair.
   The second argument chooses what is called: "pair", "malloc" (into a table; freed after it), "nothing" (the loop alone). */
#include <stdlib.h>
#include <string.h>
static void *(*volatile allocate)(size_t) = malloc;
static void (*volatile release)(void *) = free;
int main(int count, char **arguments) {
    long rounds = count > 1 ? atol(arguments[1]) : 1000;
    const char *what = count > 2 ? arguments[2] : "pair";
    void *(*a)(size_t) = allocate;
    void (*r)(void *) = release;
    /* Magazines full enough that every call of the loop hits. */
    void *warm[40];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 40; i++) warm[i] = a(64);
        for (int i = 0; i < 40; i++) r(warm[i]);
    }
    for (int i = 0; i < 8; i++) warm[i] = a(64);
    if (!strcmp(what, "pair"))
        for (long i = 0; i < rounds; i++) r(a(64));
    else
        for (long i = 0; i < rounds; i++) __asm__ volatile("" ::: "memory");
    return 0;
}
