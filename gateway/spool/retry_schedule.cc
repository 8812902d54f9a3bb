#include "spool/retry_schedule.h"

#include <algorithm>
#include <cmath>

namespace ringmx::spool {

namespace {

constexpr double spread = 0.2;

} // namespace

Duration retry_wait(const RetrySettings& settings, std::uint32_t attempts, std::uint64_t random) {
    const double maximum = static_cast<double>(settings.maximum.count());
    const double exponent = attempts > 0 ? static_cast<double>(attempts - 1) : 0;
    // Infinity after a thousand attempts, which min() takes as well.
    const double wait = std::min(static_cast<double>(settings.initial.count()) *
                                     std::pow(settings.factor, exponent),
                                 maximum);
    // The upper 53 bits: as many as a double has.
    const double fraction = static_cast<double>(random >> 11U) * 0x1p-53;
    return Duration{std::llround(wait * (1 - spread + 2 * spread * fraction))};
}

std::uint32_t attempts_in(const RetrySettings& settings, Duration time) {
    const double maximum = static_cast<double>(settings.maximum.count());
    double left = static_cast<double>(time.count());
    double wait = static_cast<double>(settings.initial.count());
    std::uint32_t attempts = 1;
    while (left >= wait && wait < maximum && settings.factor > 1) {
        left -= wait;
        wait *= settings.factor;
        ++attempts;
    }
    return attempts;
}

Instant next_attempt(const RetrySettings& settings, std::uint32_t attempts, std::uint64_t random,
                     Instant now, Duration left) {
    return now + std::clamp(retry_wait(settings, attempts, random), Duration{0},
                            std::max(left, Duration{0}));
}

Duration time_left(const RetrySettings& settings, WallTime expires_from, WallTime now) {
    return expires_from + settings.expire - now;
}

} // namespace ringmx::spool
