# realloc: between small classes, a pop, a copy and a push; within one, the same block; a medium block that stays.
#
# in:       rdi = block, NULL or anything, rsi = bytes
# out:      rax = block
# clobbers: rax, rcx, rdx, r8, r9, r10, xmm0 to xmm3, flags; nothing else, no stack
# cold:     3 (slow) outside the window (NULL too), on large blocks, on a pointer into a block, size 0, more
#           than 1,024 bytes for a small block, a medium one that has to move, no room for the old block, none
#           for the new one. The slow path gets rdi and rsi as they came, by a tail jump.
#           5 (where other than 32, 48 or 64 bytes are kept) and 9 (medium blocks) are beside the bounded way.
#
#   old = map[unit].class; offset within the unit * reciprocal[old]: the low half is below the
#   reciprocal if and only if the offset is a multiple of the block size (size_class.rs, `divides`)
#   new = (size + 15) / 16; equal -> the block itself; else pop new, copy the smaller one, push old
#   where 16 or more than 64 bytes are kept:
#   new = old + 1 -> the next of four sizes to the doubling in its place (`with_slack`)
#   new < old, at least 3/4 of it, aligned no more than it -> the block itself (`keeps`)
#
# In checked mode and in a thread without magazines every top is on the dummy, which is full.

    mov     rdx, rdi                    # class of the block's unit, found as in free.s
    sub     rdx, qword ptr [rip + {window}]
    shr     rdx, 16
    cmp     rdx, qword ptr [rip + {window} + 8]
    jae     3f
    mov     rcx, qword ptr [rip + {window} + 16]
    movzx   edx, byte ptr [rcx + rdx*8]
    lea     rcx, [rip + 21f]
    mov     ecx, dword ptr [rcx + rdx*4]            # reciprocal; 0 for class 0, which then misses
    movzx   eax, di                     # offset: units lie at multiples of 64 KiB
    imul    rax, rcx
    cmp     eax, ecx
    jae     9f
    lea     rcx, [rsi + 15]             # class of the size, as in alloc.s
    shr     rcx, 4
    cmp     rcx, 64
    ja      3f
    mov     r8, qword ptr [rip + {tls}@GOTTPOFF]
    mov     r9, qword ptr fs:[r8 + rdx*8]           # where the old block will go
    add     r9b, 8
    jb      3f
    cmp     edx, ecx
    je      4f
    mov     r10d, edx                   # the smaller class
    cmova   r10d, ecx
    lea     eax, [r10 - 2]              # 32, 48 and 64 bytes: four moves that may overlap
    cmp     eax, 2
    ja      5f
    mov     rax, qword ptr fs:[r8 + rcx*8]          # the pop of alloc.s
    mov     rax, qword ptr [rax]
    test    rax, rax
    je      3f
    sub     qword ptr fs:[r8 + rcx*8], 8
    shl     r10d, 4                     # bytes to copy
    movups  xmm0, xmmword ptr [rdi]
    movups  xmm1, xmmword ptr [rdi + 16]
    movups  xmm2, xmmword ptr [rdi + r10 - 32]
    movups  xmm3, xmmword ptr [rdi + r10 - 16]
    movups  xmmword ptr [rax], xmm0
    movups  xmmword ptr [rax + 16], xmm1
    movups  xmmword ptr [rax + r10 - 32], xmm2
    movups  xmmword ptr [rax + r10 - 16], xmm3
2:
    mov     qword ptr [r9], rdi         # the push of free_sized.s
    mov     qword ptr fs:[r8 + rdx*8], r9
    ret
4:
    mov     rax, rdi
    ret
3:                                      # near enough for short jumps
    jmp     {slow}
5:                                      # 16 bytes, or more than 64
    lea     eax, [rdx + 1]
    cmp     ecx, eax
    ja      7f                          # grows by more than a class
    je      6f
    lea     eax, [rdx + rdx*2]          # shrinks: 3 old against 4 new
    lea     r10d, [rcx*4]
    cmp     r10d, eax
    mov     r10d, ecx
    jb      7f
    mov     eax, ecx                    # the lowest bit of new, less 1: old has none of these
    neg     eax
    and     eax, ecx
    dec     eax
    test    eax, edx
    je      4b
    jmp     7f
6:                                      # ((old >> k) + 1) << k, k = log2(old) - 2
    cmp     edx, 8
    jb      7f                          # steps of one class
    bsr     ecx, edx
    sub     ecx, 2
    mov     eax, edx
    shr     eax, cl
    inc     eax
    shl     eax, cl
    mov     ecx, eax                    # at most 64: old is below it
7:
    mov     rax, qword ptr fs:[r8 + rcx*8]          # the pop of alloc.s; none for class 0
    mov     rax, qword ptr [rax]
    test    rax, rax
    je      3f
    sub     qword ptr fs:[r8 + rcx*8], 8
    shl     r10d, 4
8:                                      # 32 bytes at a time from the end; 16 are left or none
    sub     r10d, 32
    jb      8f
    movups  xmm0, xmmword ptr [rdi + r10]
    movups  xmm1, xmmword ptr [rdi + r10 + 16]
    movups  xmmword ptr [rax + r10], xmm0
    movups  xmmword ptr [rax + r10 + 16], xmm1
    jne     8b                          # of the subtraction: moves leave the flags
    jmp     2b
8:
    movups  xmm0, xmmword ptr [rdi]
    movups  xmmword ptr [rax], xmm0
    jmp     2b
9:                                      # class 0: a medium block stays if it serves the new size
    test    dil, 127                    # runs start at granules
    jne     3f
    mov     rdx, rdi                    # class by granule, as in free.s; 0 where no run starts
    shr     rdx, 7
    mov     rcx, qword ptr [rip + {window} + 24]
    movzx   edx, byte ptr [rcx + rdx]
    mov     r8, qword ptr [rip + {tls}@GOTTPOFF]
    mov     rcx, qword ptr fs:[r8 + 520]            # thread
    mov     r9, qword ptr [rcx + rdx*8] # not in checked mode: a top on the dummy is full
    add     r9b, 8
    jb      3f
    lea     rcx, [rip + 22f]
    movzx   eax, word ptr [rcx + rdx*4] # too few bytes for it
    movzx   ecx, word ptr [rcx + rdx*4 + 2]         # sizes above that
    not     rax                         # size - 1 - too few, below the sizes: one comparison
    add     rax, rsi
    cmp     rax, rcx
    jae     3f
    mov     rax, rdi
    ret
3:
    jmp     {slow}

    .pushsection .rodata.bitmag_realloc,"a",@progbits
    .balign 64
21:                                     # ceil(2^32 / size) of each small class
    .long   0
    .set    bitmag_realloc_class, 1
    .rept   64
    .long   (0xffffffff + 16*bitmag_realloc_class) / (16*bitmag_realloc_class)
    .set    bitmag_realloc_class, bitmag_realloc_class + 1
    .endr
22:                                     # of each medium class: bytes it is too large for, how many sizes it is for
    .long   0                           # (those of its own class, and of the one below if that is odd)
    .set    bitmag_realloc_class, 0
    .rept   40
    .word   ((bitmag_realloc_class % 8 + 8) & 14) << (7 + bitmag_realloc_class / 8)
    .word   (1 + bitmag_realloc_class % 2) << (7 + bitmag_realloc_class / 8)
    .set    bitmag_realloc_class, bitmag_realloc_class + 1
    .endr
    .popsection
