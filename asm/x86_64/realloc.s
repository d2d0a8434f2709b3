# realloc: between small classes, a pop, a copy and a push; within one, the same block.
#
# in:       rdi = block, NULL or anything, rsi = bytes
# out:      rax = block
# clobbers: rax, rcx, rdx, r8, r9, r10, xmm0 to xmm3, flags; nothing else, no stack
# cold:     3 (slow) where the map has class 0 (run slabs, large blocks), outside the window (NULL too),
#           on a pointer into a block, size 0, more than 1,024 bytes, no room for the old block, none for
#           the new one. The slow path gets rdi and rsi as they came, by a tail jump.
#
#   old = map[unit].class; offset within the unit * reciprocal[old]: the low half is below the
#   reciprocal if and only if the offset is a multiple of the block size (size_class.rs, `remainder`)
#   new = (size + 15) / 16; equal -> the block itself; else pop new, copy the smaller one, push old
#
# In checked mode and in a thread without magazines every top is on the dummy, which is full.

    mov     rdx, rdi                    # class of the block, as in free.s
    sub     rdx, qword ptr [rip + {window}]
    shr     rdx, 16
    cmp     rdx, qword ptr [rip + {window} + 8]
    jae     3f
    mov     rcx, qword ptr [rip + {window} + 16]
    movzx   edx, byte ptr [rcx + rdx*2]
    lea     rcx, [rip + 9f]
    mov     ecx, dword ptr [rcx + rdx*4]            # reciprocal; 0 for class 0, which then misses
    movzx   eax, di                     # offset: units lie at multiples of 64 KiB
    imul    rax, rcx
    cmp     eax, ecx
    jae     3f
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
    mov     rax, qword ptr fs:[r8 + rcx*8]          # the pop of alloc.s
    mov     rax, qword ptr [rax]
    test    rax, rax
    je      3f
    sub     qword ptr fs:[r8 + rcx*8], 8
    lea     ecx, [r10 - 2]              # 32, 48 and 64 bytes: four moves that may overlap
    shl     r10d, 4                     # bytes to copy
    cmp     ecx, 2
    ja      5f
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
5:                                      # 32 bytes at a time from the end; 16 are left or none
    sub     r10d, 32
    jb      6f
    movups  xmm0, xmmword ptr [rdi + r10]
    movups  xmm1, xmmword ptr [rdi + r10 + 16]
    movups  xmmword ptr [rax + r10], xmm0
    movups  xmmword ptr [rax + r10 + 16], xmm1
    jne     5b                          # of the subtraction: moves leave the flags
    jmp     2b
6:
    movups  xmm0, xmmword ptr [rdi]
    movups  xmmword ptr [rax], xmm0
    jmp     2b
3:
    jmp     {slow}

    .pushsection .rodata.bitmag_realloc,"a",@progbits
    .balign 64
9:                                      # ceil(2^32 / size) of each small class
    .long   0
    .set    bitmag_realloc_class, 1
    .rept   64
    .long   (0xffffffff + 16*bitmag_realloc_class) / (16*bitmag_realloc_class)
    .set    bitmag_realloc_class, bitmag_realloc_class + 1
    .endr
    .popsection
