// Mistakes made on purpose, for the test that shows that simulation finds each of them
// (tests/sim/mutation_test.cc).
//
// RINGMX_MUTATE(name, statements) is nothing, in every program. Only that test has the sources that
// use it compiled once more, with RINGMX_MUTATIONS: there the statements run while the mutation of
// this name is switched on.
// Thread: any.
// Errors: none.
#pragma once

#ifdef RINGMX_MUTATIONS

#include <string_view>

namespace ringmx {
[[nodiscard]] bool is_mutation_on(std::string_view name); // the test's
} // namespace ringmx

#define RINGMX_MUTATE(name, ...)                                                                   \
    if (::ringmx::is_mutation_on(#name)) {                                                         \
        __VA_ARGS__;                                                                               \
    }                                                                                              \
    static_assert(true)

#else

#define RINGMX_MUTATE(name, ...) static_assert(true)

#endif
