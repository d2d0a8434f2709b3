# Allocation: pop the magazine of the size's class.
#
# in:       rdi = bytes, any value; rsi is passed on to the slow path untouched
# out:      rax = block
# clobbers: rax, rcx, rdx, flags; nothing else, no stack
# cold:     2 (medium classes) on a size above 1,024; 3 (slow) on an empty magazine, size 0, a size
#           above 32,768. The slow path gets rdi and rsi as they came, by a tail jump.
#
#   class = (size + 15) / 16; top = tops[class]; block = *top; if !block -> slow; tops[class] -= 8

    lea     rdx, [rdi + 15]             # class, rounding up; wraps to 0 for the 15 largest sizes,
    shr     rdx, 4                      # and class 0 always misses
    cmp     rdx, 64                     # the largest small class
    ja      2f
    mov     rcx, qword ptr [rip + {tls}@GOTTPOFF]   # an immediate once linked into an executable
    mov     rax, qword ptr fs:[rcx + rdx*8]         # top of the class
    mov     rax, qword ptr [rax]        # the block, NULL at the bottom and in the dummy
    test    rax, rax
    je      3f
    sub     qword ptr fs:[rcx + rdx*8], 8           # one instruction: a signal sees before or after
    ret
2:                                      # medium: eight classes to the doubling
    dec     rdx                         # (size - 1) / 16, 64.. for 1,025..
    cmp     rdx, 2047                   # 32,768 bytes
    ja      3f
    bsr     ecx, edx                    # its doubling, 6..=10
    shl     edx, 3
    shr     edx, cl                     # the eighth within it, 8..=15
    shl     ecx, 6                      # 8 tops of 8 bytes to a doubling
    mov     rax, qword ptr [rip + {tls}@GOTTPOFF]
    add     rcx, qword ptr fs:[rax + 520]           # thread
    mov     rax, qword ptr [rcx + rdx*8 - 440]      # medium_tops[8*6 + 8 - 55 ..]
    mov     rax, qword ptr [rax]
    test    rax, rax
    je      3f
    sub     qword ptr [rcx + rdx*8 - 440], 8
    ret
3:
    jmp     {slow}
