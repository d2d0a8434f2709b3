// A compiler's work: many headers, and templates that are instantiated for many types.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct Key {
  int value;
  bool operator<(const Key &other) const { return value < other.value; }
  bool operator==(const Key &other) const { return value == other.value; }
};

template <int N> int work(int seed) {
  std::map<Key<N>, std::vector<std::string>> names;
  std::set<std::tuple<int, Key<N>>> seen;
  std::vector<std::unique_ptr<std::pair<Key<N>, double>>> owned;
  std::variant<int, Key<N>, std::string> either = seed;
  for (int i = 0; i < N; ++i) {
    names[Key<N>{i * seed % 17}].push_back(std::to_string(i));
    seen.insert({i, Key<N>{i}});
    owned.push_back(std::make_unique<std::pair<Key<N>, double>>(Key<N>{i}, 1.0 / (i + 1)));
    if (i % 2) either = Key<N>{i};
  }
  std::sort(owned.begin(), owned.end(), [](auto &a, auto &b) { return a->second < b->second; });
  std::function<int(int)> add = [&](int x) { return x + int(seen.size()) + int(either.index()); };
  return add(int(names.size()));
}

template <int... N> int all(std::integer_sequence<int, N...>) { return (0 + ... + work<N + 1>(N)); }

int main() {
  std::regex words("[a-z]+");
  std::cout << all(std::make_integer_sequence<int, 5>()) << std::regex_match("abc", words) << "\n";
}
