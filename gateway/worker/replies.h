// The worker's own replies (CONTRACT 4), and which of a backend's replies are about us rather than
// about the mail.
#pragma once

#include "smtp/reply.h"

#include <string_view>

namespace ringmx::worker::replies {

inline constexpr smtp::Reply sender_ok{250, {2, 1, 0}, "Ok"};
inline constexpr smtp::Reply recipient_ok{250, {2, 1, 5}, "Ok"};
inline constexpr smtp::Reply too_many_recipients{452, {4, 5, 3}, "Too many recipients"};
inline constexpr smtp::Reply disk_error{
    451, {4, 3, 0}, "Mail queue can't be written now, try again later"};
inline constexpr smtp::Reply no_route{
    550, {5, 7, 1}, "Recipient address rejected: relay access denied"};
inline constexpr smtp::Reply other_pool{452, {4, 5, 3}, "Send this recipient in another message"};
inline constexpr smtp::Reply too_large{552, {5, 3, 4}, "Message too large for this recipient"};
inline constexpr smtp::Reply needs_smtputf8{
    550, {5, 6, 7}, "Recipient's server does not take internationalized addresses"};
inline constexpr smtp::Reply unavailable{
    451, {4, 4, 1}, "No backend takes this message now, try again later"};
inline constexpr smtp::Reply route_gone{451, {4, 3, 5}, "no route takes this recipient any more"};
inline constexpr smtp::Reply pool_on_hold{451, {4, 4, 1}, "the pool is on hold"};
inline constexpr smtp::Reply unverified{
    450, {4, 1, 1}, "Recipient can't be verified now, try again later"};
inline constexpr smtp::Reply our_fault{
    451, {4, 3, 5}, "Mail system not available, try again later"};
inline constexpr smtp::Reply no_memory{
    452, {4, 3, 1}, "Insufficient system storage, try again later"};
inline constexpr smtp::Reply memory_gone{421, {4, 3, 1}, "Insufficient memory, closing channel"};
inline constexpr std::string_view memory_gone_line = // the same, where there is none to write it in
    "421 4.3.1 Insufficient memory, closing channel\r\n";
inline constexpr smtp::Reply message_rate{450, {4, 7, 1}, "Too many messages, slow down"};
inline constexpr smtp::Reply recipient_rate{450, {4, 7, 1}, "Too many recipients, slow down"};
inline constexpr smtp::Reply client_limit{421, {4, 7, 0}, "Too many connections from your address"};
inline constexpr smtp::Reply client_rate{
    421, {4, 7, 0}, "Too many connections from your address, slow down"};
inline constexpr smtp::Reply connections_full{
    421, {4, 3, 2}, "Too many connections, try again later"};
inline constexpr smtp::Reply shutting_down{
    421, {4, 3, 2}, "Service shutting down, closing channel"};
inline constexpr smtp::Reply timed_out{421, {4, 4, 2}, "Timeout, closing channel"};
inline constexpr smtp::Reply too_slow{421, {4, 4, 2}, "Too slow, closing channel"};
inline constexpr smtp::Reply early_talker{554, {5, 5, 1}, "You spoke before the greeting"};

// 5xx of a backend that tell of our side of the exchange: the client can do nothing about them.
[[nodiscard]] constexpr bool is_our_fault(unsigned code) {
    return (code >= 500 && code <= 504) || code == 530 || code == 535 || code == 538 || code == 555;
}

} // namespace ringmx::worker::replies
