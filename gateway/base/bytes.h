// Wire octets and their view as text.
//
// Octets from the network are std::span<const std::byte>; std::string_view is for text inside one
// parsed line. Neither owns: a view is valid until the call that produced it returns, or as its
// producer says.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace ringmx {

using Bytes = std::span<const std::byte>;

[[nodiscard]] inline Bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

[[nodiscard]] inline std::string_view as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace ringmx
