// The header, in C and in C++: what it declares can be called, and does what it says.
// Prints "OK", or exits 1.

#include "bitmag.h"

#include <stdio.h>
#include <string.h>

int main(void) {
    int i;
    for (i = 0; i < 1000; i++) {
        void *p = malloc(100);
        void *q = aligned_alloc(64, 200);
        void *r = calloc(3, 50);
        if (p == NULL || q == NULL || r == NULL || malloc_usable_size(p) < 100)
            return 1;
        free_sized(p, 100);
        free_aligned_sized(q, 64, 200);
        cfree(r);
        free_sized(NULL, 100);
        free_aligned_sized(NULL, 64, 200);
    }
    {
        void *blocks[300];
        size_t count = bitmag_alloc_batch(40, blocks, 300);
        for (i = 0; i < (int)count; i++)
            memset(blocks[i], i, 40);
        if (count != 300 || malloc_usable_size(blocks[299]) < 40)
            return 1;
        free(blocks[7]);
        blocks[7] = NULL;
        bitmag_free_batch(40, blocks, count);
        bitmag_free_batch(40, blocks, 0);
        bitmag_maintain(100, 1);
    }
    puts(BITMAG_VERSION_MAJOR >= 0 ? "OK" : "");
    return 0;
}
