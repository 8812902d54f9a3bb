#include "base/assert.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace ringmx {

void assertion_failed(const char* file, int line, const char* expression, const char* format, ...) {
    std::fprintf(stderr, "ringmx: %s:%d: assertion failed: %s ", file, line, expression);
    std::va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
    std::abort();
}

} // namespace ringmx
