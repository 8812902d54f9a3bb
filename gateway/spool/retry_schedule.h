// When a message is tried next.
//
//   wait = min(initial × factor^(attempts - 1), maximum), spread by ±20 %
//
// Spread: messages that failed together (their backend went away) would come back together for ever;
//         within a few attempts they are spread over the whole of their wait.
// Expiry: no attempt is planned behind it. The last one is at the expiry itself, where the caller
//         sees that the message has expired.
// A message whose backends were only unavailable was not attempted: it is parked and its count of
// attempts stays. Should nobody wake it, it is looked at when it would have been tried: attempts_in().
// Thread: any; pure functions.
// Errors: none.
#pragma once

#include "base/instant.h"
#include "base/settings/settings.h"

#include <cstdint>

namespace ringmx::spool {

// `attempts`: those that failed, this one included; 0 (parked before its first) waits as after the
// first. `random`: any 64 bits; it decides about the spread.
[[nodiscard]] Duration retry_wait(const RetrySettings& settings, std::uint32_t attempts,
                                  std::uint64_t random);

// How many attempts are made in that time, the first at its beginning, as far as that matters to
// retry_wait().
[[nodiscard]] std::uint32_t attempts_in(const RetrySettings& settings, Duration time);

// Counted from now. `left`: what is left of the message's time, none or less once it has expired.
[[nodiscard]] Instant next_attempt(const RetrySettings& settings, std::uint32_t attempts,
                                   std::uint64_t random, Instant now, Duration left);

// What is left of the time of a message at `now`.
[[nodiscard]] Duration time_left(const RetrySettings& settings, WallTime expires_from,
                                 WallTime now);

} // namespace ringmx::spool
