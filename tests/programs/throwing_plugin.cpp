// The C++ library that late_runtime.c loads; built with -shared -fPIC.

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

static volatile std::size_t huge = PTRDIFF_MAX;
static int calls;

extern "C" int check() {
    try {
        ::operator delete(::operator new(huge));
        return 1;
    } catch (const std::bad_alloc &) {
    }
    std::set_new_handler([] {
        calls++;
        throw std::string("from the handler");
    });
    try {
        ::operator delete(::operator new(huge));
        return 2;
    } catch (const std::string &s) {
        if (s != "from the handler")
            return 3;
    }
    std::set_new_handler(nullptr);
    if (calls != 1 || ::operator new(huge, std::nothrow) != nullptr)
        return 4;
    std::vector<std::string> many(1000, std::string(100, 'x'));
    return many.size() == 1000 ? 0 : 5;
}
