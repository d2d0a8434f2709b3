/* bitmag.h: what libbitmag_malloc offers beyond the C library's own headers.
 *
 * Nothing needs this header: malloc, free and the rest are declared in <stdlib.h> and <malloc.h>,
 * operator new in <new>, and linking or preloading the library is enough. It declares what those
 * headers lack on some systems, so that a program can call it without declaring it itself.
 *
 * Link:     cc program.c -L DIR -lbitmag_malloc           (libbitmag_malloc.so)
 *           cc program.c DIR/libbitmag_malloc.a           (libbitmag_malloc.a)
 * Preload:  LD_PRELOAD=DIR/libbitmag_malloc.so program
 *
 * Environment, read once before the first allocation, ignored in set-user-id programs:
 *   BITMAG_STATS=1 | PATH       statistics at exit, on stderr or into PATH (%p: process id)
 *   BITMAG_CHECK=1              every misuse is found at once, at the price of speed
 *   BITMAG_TRACE=PATH           every call goes into a new file, to be replayed (%p: process id)
 *   BITMAG_FOREIGN=abort | forward | ignore     what happens to a pointer that is not ours
 *   BITMAG_PURGE_SHARE=PERCENT | never          how much may stay free and resident beside what is in use
 *   BITMAG_PURGE_FLOOR=KIB                      and how much in any case
 *   BITMAG_BACKGROUND=1 | MILLISECONDS          a thread gives memory back while the program is idle
 *   BITMAG_SOFT_LIMIT=KIB                       from which on next to nothing may stay free
 *   BITMAG_HUGE_PAGES=never | auto | always     for blocks of more than 2 MiB
 *   BITMAG_POPULATE=KIB                         fresh memory is made resident in steps of this size
 *   BITMAG_RESERVE=KIB                          address space taken at the start
 *   BITMAG_BACKEND=scalar | avx2 | avx512 | neon
 */
#ifndef BITMAG_H
#define BITMAG_H

#include <stddef.h>
#include <stdlib.h>
#include <malloc.h>

#define BITMAG_VERSION_MAJOR 0
#define BITMAG_VERSION_MINOR 1
#define BITMAG_VERSION_PATCH 0

#ifdef __cplusplus
#  if __cplusplus >= 201103L
#    define BITMAG_NOTHROW noexcept
#  else
#    define BITMAG_NOTHROW throw()
#  endif
extern "C" {
#elif defined(__GNUC__)
#  define BITMAG_NOTHROW __attribute__((__nothrow__, __leaf__))
#else
#  define BITMAG_NOTHROW
#endif

/* C23. Gives back a block of malloc, calloc or realloc of exactly `size` bytes; NULL is allowed.
 * Faster than free: the size need not be looked up. A wrong size is misuse of the heap. */
void free_sized(void *ptr, size_t size) BITMAG_NOTHROW;

/* C23. Gives back a block of aligned_alloc(alignment, size); NULL is allowed. */
void free_aligned_sized(void *ptr, size_t alignment, size_t size) BITMAG_NOTHROW;

/* free, under the name that glibc dropped in 2.26. */
void cfree(void *ptr) BITMAG_NOTHROW;

/* Allocates up to `count` blocks of `size` bytes into `out`, at a fraction of what one malloc for each
 * costs; how many there were, fewer with ENOMEM. Each is a block like any other. */
size_t bitmag_alloc_batch(size_t size, void **out, size_t count) BITMAG_NOTHROW;

/* Gives back `count` blocks of exactly `size` bytes, however they were allocated; NULLs are passed over. */
void bitmag_free_batch(size_t size, void *const *blocks, size_t count) BITMAG_NOTHROW;

/* A bounded part of what malloc_trim does, for programs that choose when: looks at up to `slabs` slabs of
 * 64 KiB and makes up to `system_calls` system calls; the bytes returned to the system. Each call goes on
 * where the last one stopped, and waits for nobody. */
size_t bitmag_maintain(size_t slabs, size_t system_calls) BITMAG_NOTHROW;

#ifdef __cplusplus
}
#endif

#endif /* BITMAG_H */
