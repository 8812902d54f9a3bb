// Which failures to open or connect a socket are this machine's own want (descriptors, memory,
// ports): they say nothing about the backend, so its health must not count them.
//
// In:     an errno.
// Thread: any.
// Errors: none.
// Source: socket(2), connect(2).
#pragma once

#include <cerrno>

namespace ringmx::worker {

[[nodiscard]] constexpr bool is_own_want(int error) {
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
           error == EADDRNOTAVAIL;
}

} // namespace ringmx::worker
