// What Token::operation and Timer::kind mean in a worker.
#pragma once

#include <cstdint>

namespace ringmx::worker {

// Operations of the same owner are consecutive; see ring::StreamOperation.
inline constexpr std::uint8_t accept_operation = 1;
inline constexpr std::uint8_t accept_cancel_operation = 2;
inline constexpr std::uint8_t client_operations = 16;
inline constexpr std::uint8_t backend_operations = 32;
inline constexpr std::uint8_t spool_write_operation = 48; // slot: the journal's
inline constexpr std::uint8_t spool_read_operation = 49;

enum class TimerKind : std::uint8_t { client, delivery, backend, verification };

} // namespace ringmx::worker
