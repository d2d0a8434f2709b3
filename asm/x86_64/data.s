# What the entries read, x86_64: thread-local tops, the dummy magazine and the window.
#
# Defined here because stable Rust has neither #[thread_local] nor the initial-exec model, and
# because a hidden symbol can be read as [rip + symbol] in an executable and in a shared object.
# The layouts are those of `Tls`, `Thread` and `Window` in src/layout.rs.

    .pushsection .rodata.bitmag,"a",@progbits
    .globl {dummy}
    .hidden {dummy}
    .type {dummy},@object
    .balign 256
{dummy}:                                # both empty (slot 31 is NULL) and full (top + 8 carries);
    .zero 256                           # never written, so it lies in read-only memory
    .size {dummy}, 256
    .popsection

    .pushsection .data.rel.ro.bitmag,"aw",@progbits
    .globl {dummy_thread}
    .hidden {dummy_thread}
    .type {dummy_thread},@object
    .balign 64
{dummy_thread}:                         # the medium tops of a thread that has no record
    .rept 41
    .quad {dummy} + 248
    .endr
    .size {dummy_thread}, 328
    .popsection

    .pushsection .tdata.bitmag,"awT",@progbits
    .globl {tls}
    .hidden {tls}
    .type {tls},@object
    .balign 16
{tls}:
    .rept 65
    .quad {dummy} + 248                 # tops of classes 0..64: a new thread misses every hit
    .endr
    .quad {dummy_thread}                # thread
    .quad 0                             # state: new
    .quad 0                             # busy
    .size {tls}, 544
    .popsection

    .pushsection .bss.bitmag,"aw",@nobits
    .globl {window}
    .hidden {window}
    .type {window},@object
    .balign 64
{window}:                               # base, units, map, granules; units 0: every free misses
    .zero 64
    .size {window}, 64
    .popsection
