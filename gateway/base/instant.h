// Points in time and spans of it. Nothing below main and ring/ reads a clock: the time of a turn is
// passed in.
//
// Instant:  monotonic, nanoseconds; comparable only within one process (one simulation).
// WallTime: nanoseconds since 1970-01-01 UTC; for dates in trace fields, logs and files only, never
// for timeouts.
#pragma once

#include <chrono>
#include <cstdint>

namespace ringmx {

using Duration = std::chrono::nanoseconds;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""h;

// A clock without now(): it only gives the two kinds of time points different types.
struct MonotonicScale {
    using duration = Duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<MonotonicScale>;
    static constexpr bool is_steady = true;
};
struct WallScale {
    using duration = Duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<WallScale>;
    static constexpr bool is_steady = false;
};

using Instant = MonotonicScale::time_point;
using WallTime = WallScale::time_point;

// A deadline that never comes.
inline constexpr Instant never = Instant::max();

} // namespace ringmx
