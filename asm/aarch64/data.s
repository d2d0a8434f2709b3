// What the hit path reads, aarch64: thread-local tops, the dummy magazine and the window.
//
// As asm/x86_64/data.s; the hit path itself is Rust here (src/hit/portable.rs).

    .pushsection .rodata.bitmag,"a",@progbits
    .globl {dummy}
    .hidden {dummy}
    .type {dummy},@object
    .balign 256
{dummy}:
    .zero 256
    .size {dummy}, 256
    .popsection

    .pushsection .data.rel.ro.bitmag,"aw",@progbits
    .globl {dummy_thread}
    .hidden {dummy_thread}
    .type {dummy_thread},@object
    .balign 64
{dummy_thread}:
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
    .quad {dummy} + 248
    .endr
    .quad {dummy_thread}
    .quad 0
    .quad 0
    .size {tls}, 544
    .popsection

    .pushsection .bss.bitmag,"aw",@nobits
    .globl {window}
    .hidden {window}
    .type {window},@object
    .balign 64
{window}:
    .zero 64
    .size {window}, 64
    .popsection
