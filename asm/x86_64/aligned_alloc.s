# aligned_alloc: pop the magazine of the size's class, where that class has the alignment anyway.
#
# in:       rdi = alignment, rsi = bytes, any values
# out:      rax = block
# clobbers: rax, rcx, rdx, rdi, rsi, flags; nothing else, no stack
# cold:     2 and 3 (slow): an alignment that is no power of two, a size that is no multiple of it or
#           of 16, more than 1,024 bytes, size 0, an empty magazine. The slow path gets rdi and rsi as
#           they came, by a tail jump.
#
# A block of a small class lies at a multiple of the largest power of two that divides its size, so a
# size that is a multiple of the alignment finds its class as in alloc.s. One test asks for both:
#   (align | size) & (align - 1) is 0 if and only if align is a power of two and divides size (or both
#   are 0, and class 0 always misses)

    lea     rdx, [rdi - 1]              # the slow path gets the alignment back from it
    or      rdi, rsi
    test    rdi, rdx
    jne     3f
    ror     rsi, 4                      # class; huge if size is no multiple of 16
    cmp     rsi, 64
    ja      2f
    mov     rcx, qword ptr [rip + {tls}@GOTTPOFF]   # the pop of alloc.s
    mov     rax, qword ptr fs:[rcx + rsi*8]
    mov     rax, qword ptr [rax]
    test    rax, rax
    je      2f
    sub     qword ptr fs:[rcx + rsi*8], 8
    ret
2:
    rol     rsi, 4                      # the size again
3:
    lea     rdi, [rdx + 1]              # the alignment again
    jmp     {slow}
