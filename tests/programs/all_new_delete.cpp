// Every form of C++'s operators new and delete, checked by the program itself: what they return,
// that what one form made the matching forms take back, and what happens without memory.
// Build: g++ -std=c++17 -O2 all_new_delete.cpp   (C++17 for the aligned forms; any optimisation)
// With the argument "overflow" also what libstdc++ 12 gets wrong: aligned sizes whose rounding up
// to the alignment wraps around.
// Prints "OK" and exits 0, or names the first check that failed and exits 1.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);          \
            std::exit(1);                                                         \
        }                                                                         \
    } while (0)

// Read through a volatile, so that no compiler knows the sizes or leaves a pair of calls out.
static volatile std::size_t unknown_zero = 0;
static volatile std::size_t huge = PTRDIFF_MAX;
static void *volatile sink;
static void *volatile null = nullptr;
static bool overflow = false;

static std::size_t hide(std::size_t n) { return n + unknown_zero; }

static void *used(void *p, std::size_t size, std::size_t align) {
    CHECK(p != nullptr);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % align == 0);
    std::memset(p, 0xA5, size);
    sink = p;
    return p;
}

static constexpr std::size_t SIZES[] = {0,    1,    7,     8,     15,    16,     17,      100,    1000,
                                        1024, 1025, 4096, 30000, 32768, 32769, 100000, 1000000, 5000000};
static constexpr std::size_t ALIGNMENTS[] = {1, 2, 8, 16, 32, 64, 256, 4096, 65536, 1 << 20};

static void plain_forms() {
    constexpr std::size_t usual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
    for (std::size_t s : SIZES) {
        for (int round = 0; round < 40; round++) {
            std::size_t n = hide(s);
            ::operator delete(used(::operator new(n), n, usual));
            ::operator delete(used(::operator new(n), n, usual), n);
            ::operator delete(used(::operator new(n), n, usual), std::nothrow);
            ::operator delete[](used(::operator new[](n), n, usual));
            ::operator delete[](used(::operator new[](n), n, usual), n);
            ::operator delete[](used(::operator new[](n), n, usual), std::nothrow);
            ::operator delete(used(::operator new(n, std::nothrow), n, usual));
            ::operator delete(used(::operator new(n, std::nothrow), n, usual), n);
            ::operator delete(used(::operator new(n, std::nothrow), n, usual), std::nothrow);
            ::operator delete[](used(::operator new[](n, std::nothrow), n, usual));
            ::operator delete[](used(::operator new[](n, std::nothrow), n, usual), n);
            ::operator delete[](used(::operator new[](n, std::nothrow), n, usual), std::nothrow);
        }
    }
}

static void aligned_forms() {
    for (std::size_t a : ALIGNMENTS) {
        std::align_val_t al{hide(a)};
        for (std::size_t s : SIZES) {
            std::size_t n = hide(s);
            ::operator delete(used(::operator new(n, al), n, a), al);
            ::operator delete(used(::operator new(n, al), n, a), n, al);
            ::operator delete(used(::operator new(n, al), n, a), al, std::nothrow);
            ::operator delete[](used(::operator new[](n, al), n, a), al);
            ::operator delete[](used(::operator new[](n, al), n, a), n, al);
            ::operator delete[](used(::operator new[](n, al), n, a), al, std::nothrow);
            ::operator delete(used(::operator new(n, al, std::nothrow), n, a), al);
            ::operator delete(used(::operator new(n, al, std::nothrow), n, a), n, al);
            ::operator delete[](used(::operator new[](n, al, std::nothrow), n, a), al);
            ::operator delete[](used(::operator new[](n, al, std::nothrow), n, a), n, al);
            ::operator delete[](used(::operator new[](n, al, std::nothrow), n, a), al, std::nothrow);
        }
    }
}

static void deletes_of_null() {
    std::align_val_t al{hide(64)};
    for (std::size_t s : SIZES) {
        std::size_t n = hide(s);
        for (int round = 0; round < 40; round++) {
            ::operator delete(null);
            ::operator delete[](null);
            ::operator delete(null, n);
            ::operator delete[](null, n);
            ::operator delete(null, std::nothrow);
            ::operator delete[](null, std::nothrow);
            ::operator delete(null, al);
            ::operator delete[](null, al);
            ::operator delete(null, n, al);
            ::operator delete[](null, n, al);
            ::operator delete(null, al, std::nothrow);
            ::operator delete[](null, al, std::nothrow);
        }
        // What a delete of NULL may have left behind must not be handed out.
        for (int round = 0; round < 100; round++)
            ::operator delete(used(::operator new(n), n, 1), n);
    }
}

static void zero_is_unique() {
    std::set<void *> seen;
    for (int i = 0; i < 100; i++) {
        CHECK(seen.insert(::operator new(hide(0))).second);
        CHECK(seen.insert(::operator new[](hide(0))).second);
        CHECK(seen.insert(::operator new(hide(0), std::nothrow)).second);
    }
    CHECK(seen.count(nullptr) == 0);
    for (void *p : seen)
        ::operator delete(p);
}

template <typename F> static bool throws_bad_alloc(F &&f) {
    try {
        sink = f();
    } catch (const std::bad_alloc &e) {
        CHECK(e.what() != nullptr);
        return true;
    }
    return false;
}

static void no_memory() {
    std::align_val_t al{hide(64)};
    for (int round = 0; round < 3; round++) {
        for (std::size_t n : {std::size_t(huge), std::size_t(huge) - 1, std::size_t(huge) + 1, SIZE_MAX,
                              SIZE_MAX - 7, SIZE_MAX - 14, SIZE_MAX - 15, SIZE_MAX - 4096}) {
            CHECK(throws_bad_alloc([=] { return ::operator new(n); }));
            CHECK(throws_bad_alloc([=] { return ::operator new[](n); }));
            CHECK(::operator new(n, std::nothrow) == nullptr);
            CHECK(::operator new[](n, std::nothrow) == nullptr);
            if (n > SIZE_MAX - 64 && !overflow)
                continue;
            CHECK(throws_bad_alloc([=] { return ::operator new(n, al); }));
            CHECK(throws_bad_alloc([=] { return ::operator new[](n, al); }));
            CHECK(::operator new(n, al, std::nothrow) == nullptr);
            CHECK(::operator new[](n, al, std::nothrow) == nullptr);
        }
        // Alignments that cannot be met.
        for (std::size_t a : {std::size_t(0), std::size_t(3), std::size_t(48), SIZE_MAX}) {
            std::align_val_t bad{hide(a)};
            CHECK(throws_bad_alloc([=] { return ::operator new(hide(100), bad); }));
            CHECK(::operator new(hide(100), bad, std::nothrow) == nullptr);
        }
        CHECK(throws_bad_alloc([] { return ::operator new(hide(100), std::align_val_t{SIZE_MAX / 2 + 1}); }));
        CHECK(throws_bad_alloc([]() -> void * {
            return std::vector<char>(std::size_t(huge), 'x').data();
        }));
    }
}

struct FromHandler {
    int number;
};

static int handler_calls;

static void throwing_handler() {
    handler_calls++;
    throw FromHandler{handler_calls};
}

static void handler_that_throws() {
    std::align_val_t al{hide(128)};
    std::set_new_handler(throwing_handler);
    handler_calls = 0;
    auto caught = [](auto &&f) {
        try {
            sink = f();
        } catch (const FromHandler &e) {
            return e.number == handler_calls;
        }
        return false;
    };
    std::size_t n = huge;
    CHECK(caught([=] { return ::operator new(n); }));
    CHECK(handler_calls == 1);
    CHECK(caught([=] { return ::operator new[](n); }));
    CHECK(caught([=] { return ::operator new(n, al); }));
    CHECK(caught([=] { return ::operator new[](n, al); }));
    CHECK(handler_calls == 4);
    // The nothrow forms call the handler too, and swallow what it throws.
    CHECK(::operator new(n, std::nothrow) == nullptr);
    CHECK(handler_calls == 5);
    CHECK(::operator new[](n, std::nothrow) == nullptr);
    CHECK(::operator new(n, al, std::nothrow) == nullptr);
    CHECK(::operator new[](n, al, std::nothrow) == nullptr);
    CHECK(handler_calls == 8);
    CHECK(std::uncaught_exceptions() == 0);
    // An alignment that is none is not the handler's business.
    CHECK(throws_bad_alloc([] { return ::operator new(hide(8), std::align_val_t{hide(24)}); }));
    CHECK(handler_calls == 8);
    std::set_new_handler(nullptr);
}

static void handler_that_gives_up() {
    handler_calls = 0;
    std::set_new_handler([] {
        if (++handler_calls == 3)
            std::set_new_handler(nullptr);
    });
    std::size_t n = huge;
    CHECK(throws_bad_alloc([=] { return ::operator new(n); }));
    CHECK(handler_calls == 3);
    handler_calls = 0;
    std::set_new_handler([] {
        if (++handler_calls == 2)
            std::set_new_handler(nullptr);
    });
    CHECK(::operator new(n, std::nothrow) == nullptr);
    CHECK(handler_calls == 2);
}

static std::size_t address_space() {
    std::size_t pages = 0;
    std::FILE *f = std::fopen("/proc/self/statm", "r");
    CHECK(f != nullptr && std::fscanf(f, "%zu", &pages) == 1);
    std::fclose(f);
    return pages * 4096;
}

static void *reserve;

// Address space runs out for real; the handler gives back what was put aside.
static void handler_that_frees() {
    constexpr std::size_t MIB = 1 << 20, PIECE = 48 * MIB;
    rlimit before;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    rlimit tight = before;
    tight.rlim_cur = address_space() + 400 * MIB;
    CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
    void *probe = mmap(nullptr, 800 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe != MAP_FAILED) {
        std::fprintf(stderr, "not run: a handler that frees (RLIMIT_AS is without effect, as under qemu)\n");
        munmap(probe, 800 * MIB);
        return;
    }

    reserve = ::operator new(hide(PIECE));
    std::vector<void *> held;
    held.reserve(64);
    handler_calls = 0;
    std::set_new_handler([] {
        handler_calls++;
        if (reserve == nullptr)
            throw std::bad_alloc();
        ::operator delete(reserve);
        reserve = nullptr;
    });
    bool ended = false;
    while (held.size() < 64 && !ended) {
        try {
            held.push_back(::operator new(hide(PIECE)));
        } catch (const std::bad_alloc &) {
            ended = true;
        }
        // The call in which the handler gave the reserve back must have succeeded by it.
        if (handler_calls == 1)
            CHECK(!ended);
    }
    CHECK(ended);
    CHECK(handler_calls == 2);
    CHECK(::operator new(hide(PIECE), std::nothrow) == nullptr);
    CHECK(handler_calls == 3);
    std::set_new_handler(nullptr);
    CHECK(throws_bad_alloc([] { return ::operator new(hide(PIECE)); }));
    // Small ones go on, and so does everything once memory is back.
    auto text = std::make_unique<std::string>(1000, 'y');
    CHECK(text->size() == 1000);
    CHECK(!held.empty());
    ::operator delete(held.back(), hide(PIECE));
    held.pop_back();
    held.push_back(::operator new(hide(PIECE)));
    for (void *p : held)
        ::operator delete(p);
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
}

struct alignas(256) Wide {
    char bytes[300];
    ~Wide() { sink = this; }
};

struct Thrower {
    std::string text = std::string(200, 'z');
    Thrower() { throw 42; }
};

static void expressions() {
    for (int i = 0; i < 200; i++) {
        auto *w = new Wide;
        CHECK(reinterpret_cast<std::uintptr_t>(w) % 256 == 0);
        delete w;
        auto *many = new Wide[hide(5)];
        CHECK(reinterpret_cast<std::uintptr_t>(many) % 256 == 0);
        delete[] many;
        auto *strings = new std::string[hide(20)];
        strings[19] = std::string(500, 'q');
        delete[] strings;
        int caught = 0;
        try {
            sink = new Thrower;
        } catch (int n) {
            caught = n;
        }
        CHECK(caught == 42);
        caught = 0;
        try {
            sink = new (std::nothrow) Thrower;
        } catch (int n) {
            caught = n;
        }
        CHECK(caught == 42);
    }
    bool bad_length = false;
    try {
        sink = new std::string[std::size_t(huge)];
    } catch (const std::bad_alloc &) { // std::bad_array_new_length is one
        bad_length = true;
    }
    CHECK(bad_length);
}

static std::string before_main(3000, 'b');

int main(int argc, char **argv) {
    overflow = argc > 1 && std::strcmp(argv[1], "overflow") == 0;
    CHECK(before_main.size() == 3000);
    plain_forms();
    aligned_forms();
    deletes_of_null();
    zero_is_unique();
    no_memory();
    handler_that_throws();
    handler_that_gives_up();
    expressions();
    std::thread([] {
        plain_forms();
        no_memory();
        expressions();
    }).join();
    handler_that_frees();
    std::puts("OK");
}
