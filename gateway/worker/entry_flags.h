// QueueEntry::flags, of which the queue and its mover own all.
#pragma once

#include "spool/queue_entry.h"

#include <cstdint>

namespace ringmx::worker {

// It is being moved: nobody else reads or changes it.
inline constexpr std::uint8_t moving_flag = 1;
// Of an active one: an operator wants it held, or removed, once its forwarding is over.
inline constexpr std::uint8_t hold_flag = 2;
inline constexpr std::uint8_t removed_flag = 4;
// An operator's mark is not durable yet; it names the message's place, so it is not moved.
inline constexpr std::uint8_t changing_flag = 8;
// Those who pend do not all go to, or wait for, the same place.
inline constexpr std::uint8_t several_pools_flag = 16;
// A pool of theirs was on hold when they were last tried: it does not expire then, and when none is
// any more its time starts anew.
inline constexpr std::uint8_t pool_hold_flag = 32;
// Of an active one: an operator released it, or wants it tried, meanwhile. Who failed before is not
// being tried: it goes again at once.
inline constexpr std::uint8_t released_flag = 64;

// While it has one of these nobody may begin to move it.
inline constexpr std::uint8_t transient_flags =
    moving_flag | hold_flag | removed_flag | changing_flag;

[[nodiscard]] inline bool has_flag(const spool::QueueEntry& entry, std::uint8_t flags) {
    return (entry.flags & flags) != 0;
}

inline void set_flag(spool::QueueEntry& entry, std::uint8_t flag, bool is_set) {
    const std::uint64_t others = entry.flags & ~std::uint64_t{flag};
    entry.flags = (others | (is_set ? flag : 0U)) & 0x7F;
}

} // namespace ringmx::worker
