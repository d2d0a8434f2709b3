# Free without a size: find the class's top in the unit map, then push.
#
# in:       rdi = block, NULL or anything
# out:      nothing
# clobbers: rax, rcx, rdx, rsi, r8, flags; nothing else, no stack
# cold:     2 (run slabs) where the map has class 0 or the magazine is full; 3 (slow) outside the
#           window (NULL too) and where no medium block starts, rdi as it came; 4 (full) on a full magazine
#           of a class slab, rdi as it came, rsi = class.
#
#   unit = (p - base) >> 16, beyond the window -> slow; slot = map[unit].slot, the offset of the class's top;
#   push as free_sized

    mov     rdx, rdi
    sub     rdx, qword ptr [rip + {window}]         # base; below it the difference is huge
    shr     rdx, 16                     # unit
    cmp     rdx, qword ptr [rip + {window} + 8]     # units
    jae     3f
    mov     rcx, qword ptr [rip + {window} + 16]    # map
    movsxd  r8, dword ptr [rcx + rdx*8 + 4]         # of no class slab: that of class 0, always "full"
    mov     rax, qword ptr fs:[r8]
    add     al, 8
    jb      2f
    mov     qword ptr [rax], rdi        # slot before top, as in free_sized.s
    mov     qword ptr fs:[r8], rax
    ret
2:
    cmp     byte ptr [rcx + rdx*8], 0   # class
    jne     4f
    mov     rdx, rdi                    # a block of a run slab has its class at its first granule
    shr     rdx, 7                      # granule, counted from address 0
    mov     rcx, qword ptr [rip + {window} + 24]    # granules, as if they began at address 0
    movzx   edx, byte ptr [rcx + rdx]   # medium class, 0 where none starts: entry 0 is the dummy
    mov     rax, qword ptr [rip + {tls}@GOTTPOFF]   # r8 may be another class's by now, if the free is wrong
    mov     rcx, qword ptr fs:[rax + 520]           # thread
    mov     rax, qword ptr [rcx + rdx*8]
    add     al, 8
    jb      3f
    mov     qword ptr [rax], rdi
    mov     qword ptr [rcx + rdx*8], rax
    ret
3:
    jmp     {slow}
4:
    movzx   esi, byte ptr [rcx + rdx*8]
    jmp     {full}
