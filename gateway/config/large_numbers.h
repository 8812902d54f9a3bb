// Numbers of a JSON text that no type holds. simdjson refuses the whole text for one of them, and a
// single slip would hide every other fault: so they are blunted, and stay out of every range.
//
// In:     a text of RFC 8259's grammar (json_place.h finds nothing wrong with it).
// Out:    the same text, octet for octet, but each whole number that neither 64 bits signed nor
//         unsigned hold, and each real number beyond a double, is a blunt_number of its sign,
//         followed by blanks.
// Cost:   O(input), one copy.
// Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace ringmx::config {

inline constexpr double blunt_number = 9e307; // no key's range reaches it

[[nodiscard]] std::string with_blunt_numbers(std::string_view json);

} // namespace ringmx::config
