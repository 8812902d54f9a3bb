// The world's failures: what was being done, to what, and what the system said.
//
// An Error is a value in std::expected<T, Error>; it is handled or logged once, where it is
// handled.
// Thread: any; it owns its text.
#pragma once

#include <expected>
#include <string>

namespace ringmx {

struct Error {
    std::string operation; // "bind", "open", "io_uring_setup": what was being done
    int code = 0;          // an errno value, or 0 where the system gave none
    std::string subject;   // "127.0.0.1:2525", a path: what it was done to

    // "bind 127.0.0.1:2525: Address already in use"
    [[nodiscard]] std::string message() const;
};

template <typename T> using Expected = std::expected<T, Error>;

} // namespace ringmx
