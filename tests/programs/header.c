// The header, in C and in C++: what it declares can be called, and does what it says.
// Prints "OK", or exits 1.

#include "bitmag.h"

#include <stdio.h>

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
    puts(BITMAG_VERSION_MAJOR >= 0 ? "OK" : "");
    return 0;
}
