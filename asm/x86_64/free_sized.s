# Sized free: push onto the magazine of the size's class.
#
# in:       rdi = block or NULL, rsi = bytes it was asked for
# out:      nothing
# clobbers: rax, rcx, rdx, flags; nothing else, no stack
# cold:     2 (medium classes) on a size above 1,024; 3 (slow) on a full magazine, size 0, a size
#           above 32,768. The slow path gets rdi and rsi as they came, by a tail jump.
#
#   class = (size + 15) / 16; top = tops[class] + 8, carry -> slow; *top = block; tops[class] = top
#
# The slot is written before the top: the other order would show a stale slot to a signal handler
# and to a fork.

    lea     rdx, [rsi + 15]             # class, as in alloc.s
    shr     rdx, 4
    cmp     rdx, 64
    ja      2f
    mov     rcx, qword ptr [rip + {tls}@GOTTPOFF]
    mov     rax, qword ptr fs:[rcx + rdx*8]
    add     al, 8                       # magazines are 256-aligned: the carry is "full"
    jb      3f
    mov     qword ptr [rax], rdi
    mov     qword ptr fs:[rcx + rdx*8], rax
    ret
2:
    dec     rdx                         # as in alloc.s
    cmp     rdx, 2047
    ja      3f
    bsr     ecx, edx
    shl     edx, 3
    shr     edx, cl
    shl     ecx, 6
    mov     rax, qword ptr [rip + {tls}@GOTTPOFF]
    add     rcx, qword ptr fs:[rax + 520]
    mov     rax, qword ptr [rcx + rdx*8 - 440]
    add     al, 8
    jb      3f
    mov     qword ptr [rax], rdi
    mov     qword ptr [rcx + rdx*8 - 440], rax
    ret
3:
    jmp     {slow}
