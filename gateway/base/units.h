// Durations, sizes and rates as people write them, in the config file and on command lines.
//
//   duration  "250ms" "30s" "5m" "2h" "4d", or "0"      whole numbers, at most duration_days_max
//                                                       days
//   size      "512KiB" "50MiB" "10GiB" "1TiB" "4096"    octets; powers of 1024
//   rate      "2000/1m", or "0" for none                a count per duration (1ms and more)
//
// Thread: any; no state.
// Errors: nullopt for anything else (signs, blanks, fractions, other units, overflow).
#pragma once

#include "base/instant.h"
#include "base/settings/settings.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace ringmx {

inline constexpr std::uint64_t duration_days_max =
    3650; // ten years: far from where nanoseconds overflow

[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);
[[nodiscard]] std::optional<Rate> parse_rate(std::string_view text);

} // namespace ringmx
