// snmalloc with its table of chunks sized for the addresses that valgrind hands out: below 2^37. For 48 bits it reserves 256 GiB, which
// valgrind (which keeps a program below 128 GiB) refuses. A constant of the table's size alone: lookups have no bounds check.
#pragma once
#include <cstddef>

namespace snmalloc
{
  class PALLinux;

  template<class Pal>
  struct SmallSpace : Pal
  {
    static constexpr std::size_t address_bits = 37;
  };
}
