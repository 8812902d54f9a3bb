// Per-client limits over all workers: connections open, and the rates of connections, messages and
// recipients; and the total.
//
// - ClientCounters: one per process, the state; outlives reloads.
// - ClientLimits: one per config, the limits, applied to those counters; immutable.
//
// A client is the prefix of its address (limits.client_prefix_v4 and _v6). Networks in
// limits.exempt are under the total only. Shape of a connection: admit_connection() at accept (or
// admit_peer() for a trusted proxy, and admit_client() once its PROXY header named the client),
// admit_message() at MAIL, admit_recipient() at RCPT, release() at the end. A ticket stays good
// over a reload and may be released through any ClientLimits on the same counters.
//
// Bounds: a full table lets through and counts (SharedCounters); refused events cost no budget.
// Thread: any.
// Cost:   one or two cache lines an event; no allocation.
// Errors: none.
// Source: CONTRACT 3 (limits), 4 (421 4.7.0, 421 4.3.2, 450 4.7.1).
#pragma once

#include "base/address.h"
#include "base/instant.h"
#include "base/settings/settings.h"
#include "base/shared_counters.h"

#include <atomic>
#include <cstdint>

namespace ringmx::policy {

class ClientCounters {
  public:
    // The seed is random, from main: nobody outside can aim prefixes at one neighbourhood of the
    // table.
    ClientCounters(std::uint32_t connections_max, std::uint64_t seed);

    [[nodiscard]] std::uint32_t connections_open() const {
        return total_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t untracked_total() const { return clients_.untracked_total(); }

  private:
    friend class ClientLimits;
    SharedCounters clients_;
    std::uint64_t seed_;
    alignas(64) std::atomic<std::uint32_t> total_{0};
};

struct ClientTicket {
    std::uint32_t entry =
        SharedCounters::untracked_ticket; // of the client; untracked for exempt ones
    bool in_total = false;
    // Names the client's prefix to upstream (its share of a pool's connections); 0: exempt, under
    // no share.
    std::uint64_t client_key = 0;
};

enum class AdmissionVerdict : std::uint8_t {
    admitted,
    refused_client_count, // 421 4.7.0
    refused_client_rate,  // 421 4.7.0
    refused_total,        // 421 4.3.2
};

struct Admission {
    AdmissionVerdict verdict;
    ClientTicket ticket; // holds nothing unless admitted
};

class ClientLimits {
  public:
    ClientLimits(const LimitSettings& settings, ClientCounters& counters);

    // A client's connection: the total and the client's own limits.
    [[nodiscard]] Admission admit_connection(const IpAddress& client, Instant now) const;
    // A trusted proxy's connection: the total only.
    [[nodiscard]] Admission admit_peer() const;
    // The client that a PROXY header named, on a ticket from admit_peer(). When refused the ticket
    // is as it was (release it).
    [[nodiscard]] AdmissionVerdict admit_client(ClientTicket& ticket, const IpAddress& client,
                                                Instant now) const;

    [[nodiscard]] bool admit_message(const ClientTicket& ticket, Instant now) const;
    [[nodiscard]] bool admit_recipient(const ClientTicket& ticket, Instant now) const;
    // Gives back all that the ticket holds and empties it; an empty ticket is ignored.
    void release(ClientTicket& ticket) const;

    [[nodiscard]] bool is_exempt(const IpAddress& client) const;
    // The hash of the client's prefix; 0 for exempt clients, never 0 for others.
    [[nodiscard]] std::uint64_t client_key(const IpAddress& client) const;

  private:
    LimitSettings settings_;
    TokenBucket connection_bucket_;
    TokenBucket message_bucket_;
    TokenBucket recipient_bucket_;
    ClientCounters& counters_;
};

} // namespace ringmx::policy
