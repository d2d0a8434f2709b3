// Every form of new and delete, with exceptions: out of memory is std::bad_alloc and the program goes on, the new-handler
// is called first, thread_local destructors allocate. Prints "forms: ok". Argument "limit": also runs out of memory for real.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>
#include <sys/resource.h>

static int failures = 0;
#define CHECK(condition) do { if (!(condition)) { std::printf("line %d: %s\n", __LINE__, #condition); failures++; } } while (0)

struct alignas(256) Wide { char bytes[300]; Wide() { std::memset(bytes, 1, sizeof bytes); } ~Wide() { bytes[0] = 0; } };
struct Counted { static thread_local int live; std::string text = "a string that is longer than the small-string buffer"; Counted() { live++; } ~Counted() { live--; } };
thread_local int Counted::live = 0;
struct Throws { char bytes[500]; Throws() { throw 42; } };

static int handled = 0;
static void *spare = nullptr;
static void handler_gives_up() { handled++; std::set_new_handler(nullptr); }
static void handler_throws() { handled++; throw std::bad_alloc(); }
static void handler_frees() { handled++; std::free(spare); spare = nullptr; std::set_new_handler(nullptr); }

// Larger than anything, in a way that no compiler folds away.
static volatile std::size_t huge = SIZE_MAX / 2 - 4096;

struct AtExit { std::vector<std::string> texts; ~AtExit() { for (int i = 0; i < 100; i++) texts.push_back(std::string(i * 7, 'x')); texts.clear(); } };
static thread_local AtExit at_exit;

static void all_forms() {
    for (std::size_t size : {0ul, 1ul, 24ul, 64ul, 1000ul, 1025ul, 5000ul, 40000ul, 3000000ul}) {
        void *p;
        p = ::operator new(size); std::memset(p, 1, size); ::operator delete(p);
        p = ::operator new(size); ::operator delete(p, size);
        p = ::operator new(size, std::nothrow); CHECK(p); ::operator delete(p, std::nothrow);
        p = ::operator new[](size); ::operator delete[](p);
        p = ::operator new[](size); ::operator delete[](p, size);
        p = ::operator new[](size, std::nothrow); CHECK(p); ::operator delete[](p, std::nothrow);
        for (std::size_t align : {1ul, 8ul, 16ul, 32ul, 64ul, 4096ul, 1ul << 17}) {
            std::align_val_t a{align};
            p = ::operator new(size, a); CHECK((uintptr_t)p % align == 0); std::memset(p, 2, size); ::operator delete(p, a);
            p = ::operator new(size, a); ::operator delete(p, size, a);
            p = ::operator new(size, a, std::nothrow); CHECK(p && (uintptr_t)p % align == 0); ::operator delete(p, a, std::nothrow);
            p = ::operator new[](size, a); CHECK((uintptr_t)p % align == 0); ::operator delete[](p, a);
            p = ::operator new[](size, a); ::operator delete[](p, size, a);
            p = ::operator new[](size, a, std::nothrow); CHECK(p); ::operator delete[](p, a, std::nothrow);
        }
    }
    ::operator delete(nullptr); ::operator delete[](nullptr); ::operator delete(nullptr, 10ul); ::operator delete[](nullptr, 5000ul);
    ::operator delete(nullptr, std::align_val_t{64}); ::operator delete(nullptr, 10ul, std::align_val_t{64});
    for (int i = 0; i < 200; i++) {
        std::unique_ptr<Wide> one(new Wide); CHECK((uintptr_t)one.get() % 256 == 0);
        std::unique_ptr<Wide[]> many(new Wide[3]); CHECK((uintptr_t)many.get() % 256 == 0);
        std::unique_ptr<Counted[]> counted(new Counted[i + 1]); CHECK(Counted::live == i + 1);
        try { delete new Throws; CHECK(false); } catch (int value) { CHECK(value == 42); }
    }
    CHECK(Counted::live == 0);
}

template <class F> static void must_throw(F body, int line) {
    try { body(); std::printf("line %d: nothing was thrown\n", line); failures++; }
    catch (const std::bad_alloc &) {}
}

static void failing() {
    std::align_val_t a{64};
    must_throw([] { ::operator delete(::operator new(huge)); }, __LINE__);
    must_throw([] { ::operator delete[](::operator new[](huge)); }, __LINE__);
    must_throw([=] { ::operator delete(::operator new(huge, a), a); }, __LINE__);
    must_throw([=] { ::operator delete[](::operator new[](huge, a), a); }, __LINE__);
    CHECK(::operator new(huge, std::nothrow) == nullptr);
    CHECK(::operator new[](huge, std::nothrow) == nullptr);
    CHECK(::operator new(huge, a, std::nothrow) == nullptr);
    CHECK(::operator new[](huge, a, std::nothrow) == nullptr);
    handled = 0; std::set_new_handler(handler_gives_up);
    must_throw([] { ::operator delete(::operator new(huge)); }, __LINE__);
    CHECK(handled == 1);
    handled = 0; std::set_new_handler(handler_throws);
    must_throw([] { ::operator delete(::operator new(huge)); }, __LINE__);
    must_throw([=] { ::operator delete(::operator new(huge, a), a); }, __LINE__);
    CHECK(handled == 2);
    CHECK(::operator new(huge, std::nothrow) == nullptr); // the handler's exception ends inside
    CHECK(::operator new[](huge, a, std::nothrow) == nullptr);
    CHECK(handled == 4);
    std::set_new_handler(nullptr);
    // An exception that passes through frames which own memory.
    for (int i = 0; i < 100; i++) {
        try { std::vector<std::string> texts(50, std::string(100, 'y')); std::vector<char> more(huge); texts.push_back(more.data()); CHECK(false); }
        catch (const std::exception &) {}
    }
}

static void limited() {
    rlimit limit{400ul << 20, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (std::size_t size : {48ul, 3000ul, 100000ul, 20000000ul}) {
        spare = std::malloc(30 << 20); handled = 0;
        std::set_new_handler(spare ? handler_frees : nullptr);
        bool had_spare = spare != nullptr, caught = false;
        char **chain = nullptr; std::size_t got = 0; // chained, so that the test itself needs no memory
        try { for (;;) { char **next = (char **)new char[size]; *next = (char *)chain; chain = next; got += size; } }
        catch (const std::bad_alloc &) { caught = true; }
        while (chain) { char **next = (char **)*chain; delete[] (char *)chain; chain = next; }
        CHECK(caught); CHECK(!had_spare || handled == 1); CHECK(got > (50ul << 20));
    }
    std::unique_ptr<char[]> again(new char[100 << 20]); again[5] = 1; // the program goes on
    std::map<int, std::string> map; for (int i = 0; i < 20000; i++) map[i] = std::to_string(i);
    CHECK(map.size() == 20000);
}

int main(int count, char **arguments) {
    all_forms();
    failing();
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++) threads.emplace_back([] { at_exit.texts.push_back("first"); all_forms();  at_exit.texts.push_back("last"); });
    for (auto &thread : threads) thread.join();
    if (count > 1 && !std::strcmp(arguments[1], "limit")) limited();
    if (failures == 0) std::puts("forms: ok");
    return failures != 0;
}
