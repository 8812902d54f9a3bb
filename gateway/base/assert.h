// Assertions: our own mistakes end the program at once, in every build.
//
// RINGMX_ASSERT(expression) and RINGMX_ASSERT_STATE(expression, format, ...) abort with the place,
// the expression and the state that explains it. Never use them on what a client, a backend, a file
// or the kernel may do: those are outcomes or Errors.
// Thread: any.
// Cost:   one predictable branch.
#pragma once

namespace ringmx {

[[noreturn, gnu::cold, gnu::format(printf, 4, 5)]] void
assertion_failed(const char* file, int line, const char* expression, const char* format, ...);

} // namespace ringmx

#define RINGMX_ASSERT(expression)                                                                  \
    (__builtin_expect(static_cast<bool>(expression), 1)                                            \
         ? static_cast<void>(0)                                                                    \
         : ::ringmx::assertion_failed(__FILE__, __LINE__, #expression, "%s", ""))

#define RINGMX_ASSERT_STATE(expression, ...)                                                       \
    (__builtin_expect(static_cast<bool>(expression), 1)                                            \
         ? static_cast<void>(0)                                                                    \
         : ::ringmx::assertion_failed(__FILE__, __LINE__, #expression, __VA_ARGS__))
