/* A program that allocates much, checks itself and prints a sum: under valgrind, which must let it run to its end on our malloc. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static uint64_t work(unsigned seed) {
    enum { LIVE = 2000 };
    static __thread unsigned char *live[LIVE];
    static __thread uint32_t size[LIVE];
    uint64_t sum = 0;
    for (int round = 0; round < 60000; round++) {
        seed = seed * 1664525u + 1013904223u;
        unsigned at = (seed >> 8) % LIVE;
        if (live[at]) {
            if (live[at][0] != (unsigned char)at || live[at][size[at] - 1] != (unsigned char)at) { puts("broken"); exit(1); }
            sum += size[at];
            if (seed & 0x100000) { free(live[at]); live[at] = NULL; continue; }
            size[at] = size[at] * 2 % 50000 + 1;
            live[at] = realloc(live[at], size[at]);
        } else {
            size[at] = (seed >> 16) % ((seed & 0xF000) ? 700 : 90000) + 1;
            live[at] = (seed & 0x800) ? calloc(1, size[at]) : malloc(size[at]);
        }
        live[at][0] = live[at][size[at] - 1] = (unsigned char)at;
    }
    for (unsigned at = 0; at < LIVE; at++) { free(live[at]); live[at] = NULL; }
    return sum;
}
static void *thread(void *argument) { return (void *)(uintptr_t)work((unsigned)(uintptr_t)argument); }
int main(void) {
    pthread_t threads[2];
    uint64_t sum = work(1);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, thread, (void *)(uintptr_t)(i + 2));
    for (int i = 0; i < 2; i++) { void *part; pthread_join(threads[i], &part); sum += (uintptr_t)part; }
    printf("sum %llu\n", (unsigned long long)sum);
    return 0;
}
