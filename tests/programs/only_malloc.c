// Calls malloc and nothing else of its family; the C library's getline then calls realloc and
// setlocale calls free. Linked with the static library, all of them must come from there.
// Prints "OK", or crashes.

#define _GNU_SOURCE
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    (void)argc;
    size_t size = 8;
    char *line = malloc(size); // getline will have to make it larger
    FILE *self = fopen(argv[0], "r");
    if (line == NULL || self == NULL)
        return 1;
    for (int i = 0; i < 100 && getline(&line, &size, self) >= 0; i++)
        ;
    fclose(self);
    setlocale(LC_ALL, "C");
    puts("OK");
    return 0;
}
