// A C program under the preloaded library, which meets a failing operator new twice: without any
// C++ runtime in the process, and after one came with a library loaded late into a scope of its
// own, where the exception must reach that library's handler.
// Usage: late_runtime none | late_runtime PLUGIN.so    (the plugin is throwing_plugin.cpp)

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    if (strcmp(argv[1], "none") == 0) {
        void *(*operator_new)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "_Znwm");
        void *(*nothrow)(size_t, const void *) =
            (void *(*)(size_t, const void *))dlsym(RTLD_DEFAULT, "_ZnwmRKSt9nothrow_t");
        if (operator_new == NULL || nothrow == NULL || operator_new(100) == NULL)
            return 1;
        if (nothrow(PTRDIFF_MAX, "") != NULL)
            return 1;
        puts("nothrow is NULL");
        fflush(stdout);
        operator_new(PTRDIFF_MAX); // ends the process
        return 1;
    }
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int (*check)(void) = (int (*)(void))dlsym(plugin, "check");
    if (check == NULL || check() != 0)
        return 1;
    puts("OK");
    return 0;
}
