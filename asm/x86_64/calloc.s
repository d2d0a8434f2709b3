# calloc: pop the magazine of the product's class and clear the whole block.
#
# in:       rdi = count, rsi = bytes each, any values
# out:      rax = block
# clobbers: rax, rcx, rdx, xmm0, flags; nothing else, no stack
# cold:     3 (slow) on an overflow, 0 bytes, more than 1,024 bytes, an empty magazine. The slow path
#           gets rdi and rsi as they came, by a tail jump.
#
# Blocks of 32, 48 and 64 bytes are cleared by four stores, which overlap in the first two; 2 does the
# other sizes.

    mov     rax, rdi
    mul     rsi                         # rdx is 0 unless the product overflows
    jo      3f
    lea     rdx, [rax + 15]             # class, as in alloc.s
    shr     rdx, 4
    lea     rcx, [rdx - 2]              # 2, 3 and 4 in one comparison
    cmp     rcx, 2
    ja      2f
    mov     rcx, qword ptr [rip + {tls}@GOTTPOFF]   # the pop of alloc.s
    mov     rax, qword ptr fs:[rcx + rdx*8]
    mov     rax, qword ptr [rax]
    test    rax, rax
    je      3f
    sub     qword ptr fs:[rcx + rdx*8], 8
    shl     edx, 4                      # bytes of the block
    xorps   xmm0, xmm0
    movups  xmmword ptr [rax], xmm0
    movups  xmmword ptr [rax + 16], xmm0
    movups  xmmword ptr [rax + rdx - 32], xmm0
    movups  xmmword ptr [rax + rdx - 16], xmm0
    ret
2:
    cmp     rdx, 64                     # the largest small class
    ja      3f
    mov     rcx, qword ptr [rip + {tls}@GOTTPOFF]
    mov     rax, qword ptr fs:[rcx + rdx*8]
    mov     rax, qword ptr [rax]
    test    rax, rax
    je      3f
    sub     qword ptr fs:[rcx + rdx*8], 8
    xorps   xmm0, xmm0
    shl     edx, 4
    sub     edx, 64                     # where the last four stores begin
    jb      5f                          # class 1: one store
    mov     rcx, rax
    add     rdx, rax
4:                                      # 64 bytes at a time, and once more the last 64
    movups  xmmword ptr [rcx], xmm0
    movups  xmmword ptr [rcx + 16], xmm0
    movups  xmmword ptr [rcx + 32], xmm0
    movups  xmmword ptr [rcx + 48], xmm0
    add     rcx, 64
    cmp     rcx, rdx
    jb      4b
    movups  xmmword ptr [rdx], xmm0
    movups  xmmword ptr [rdx + 16], xmm0
    movups  xmmword ptr [rdx + 32], xmm0
    movups  xmmword ptr [rdx + 48], xmm0
    ret
5:
    movups  xmmword ptr [rax], xmm0
    ret
3:
    jmp     {slow}
