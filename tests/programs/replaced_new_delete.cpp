// A program that replaces operator new(size) and operator delete(ptr) and leaves all other forms
// to the library, which must call these two then: the blocks carry a header, so that a form that
// went its own way would hand out or take back the wrong pointer.
// Build: g++ -std=c++17 -O2 replaced_new_delete.cpp
// Prints "OK" and exits 0, or names the first check that failed and exits 1.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);          \
            std::exit(1);                                                         \
        }                                                                         \
    } while (0)

static constexpr std::size_t HEADER = 64;
static constexpr std::uint64_t MARK = 0x6269746d61672121;
static long made, taken;

// Not inlined: compilers warn of a header that they can see.
[[gnu::noinline]] void *operator new(std::size_t size) {
    auto *start = static_cast<char *>(size > PTRDIFF_MAX - HEADER ? nullptr : std::malloc(size + HEADER));
    if (start == nullptr)
        throw std::bad_alloc();
    *reinterpret_cast<std::uint64_t *>(start) = MARK;
    made++;
    return start + HEADER;
}

[[gnu::noinline]] void operator delete(void *ptr) noexcept {
    if (ptr == nullptr)
        return;
    char *start = static_cast<char *>(ptr) - HEADER;
    CHECK(*reinterpret_cast<std::uint64_t *>(start) == MARK);
    *reinterpret_cast<std::uint64_t *>(start) = 0;
    taken++;
    std::free(start);
}

static volatile std::size_t unknown_zero = 0;

int main() {
    std::size_t n = 100 + unknown_zero;
    std::size_t huge = PTRDIFF_MAX - unknown_zero;
    long made_before = made, taken_before = taken;
    for (int i = 0; i < 100; i++) {
        ::operator delete(::operator new(n), n);
        ::operator delete(::operator new(n), std::nothrow);
        ::operator delete(::operator new(n, std::nothrow));
        ::operator delete[](::operator new[](n));
        ::operator delete[](::operator new[](n), n);
        ::operator delete[](::operator new[](n), std::nothrow);
        ::operator delete[](::operator new[](n, std::nothrow));
        delete new std::string(n, 'x');
        delete[] new std::string[n];
    }
    // A string of 100 characters has a block of its own.
    CHECK(made - made_before == 100 * 10);
    CHECK(taken - taken_before == 100 * 10);
    CHECK(::operator new(huge, std::nothrow) == nullptr);
    CHECK(::operator new[](huge, std::nothrow) == nullptr);
    bool caught = false;
    try {
        ::operator delete[](::operator new[](huge));
    } catch (const std::bad_alloc &) {
        caught = true;
    }
    CHECK(caught);
    // The aligned forms are not replaced, and keep to themselves.
    made_before = made;
    std::align_val_t al{256 + unknown_zero};
    void *aligned = ::operator new[](n, al);
    CHECK(reinterpret_cast<std::uintptr_t>(aligned) % 256 == 0);
    ::operator delete[](aligned, n, al);
    ::operator delete(::operator new(n, al, std::nothrow), n, al);
    CHECK(made == made_before);
    std::vector<std::vector<int>> nested(n, std::vector<int>(n));
    nested.clear();
    std::puts("OK");
}
