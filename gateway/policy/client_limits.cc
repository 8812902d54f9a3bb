#include "policy/client_limits.h"

#include "base/assert.h"

#include <algorithm>
#include <xxhash.h>

namespace ringmx::policy {

namespace {

// The meters of a client's entry.
constexpr std::size_t connection_meter = 0;
constexpr std::size_t message_meter = 1;
constexpr std::size_t recipient_meter = 2;
static_assert(recipient_meter < SharedCounters::meters_count);

// No client holds so many; it stands for "no limit" of one client.
constexpr std::uint32_t connections_unlimited = (1U << 24U) - 2;

} // namespace

// Twice as many entries as connections: clients that left but whose meters still refill need
// entries too.
ClientCounters::ClientCounters(std::uint32_t connections_max, std::uint64_t seed)
    : clients_(std::size_t{connections_max} * 2), seed_(seed) {}

ClientLimits::ClientLimits(const LimitSettings& settings, ClientCounters& counters)
    : settings_(settings), connection_bucket_(TokenBucket::of(settings.connection_rate_per_client)),
      message_bucket_(TokenBucket::of(settings.message_rate_per_client)),
      recipient_bucket_(TokenBucket::of(settings.recipient_rate_per_client)), counters_(counters) {}

bool ClientLimits::is_exempt(const IpAddress& client) const {
    return is_in(settings_.exempt, client);
}

std::uint64_t ClientLimits::client_key(const IpAddress& client) const {
    if (is_exempt(client)) {
        return 0;
    }
    const IpAddress prefix =
        client.masked(client.is_v4() ? settings_.client_prefix_v4 : settings_.client_prefix_v6);
    const std::uint64_t hash =
        XXH3_64bits_withSeed(prefix.octets.data(), prefix.octets.size(), counters_.seed_);
    return hash == 0 ? 1 : hash;
}

Admission ClientLimits::admit_peer() const {
    Admission admission{AdmissionVerdict::refused_total, {}};
    std::uint32_t open = counters_.total_.load(std::memory_order_relaxed);
    while (open < settings_.connections) {
        if (counters_.total_.compare_exchange_weak(open, open + 1, std::memory_order_relaxed)) {
            admission.verdict = AdmissionVerdict::admitted;
            admission.ticket.in_total = true;
            break;
        }
    }
    return admission;
}

AdmissionVerdict ClientLimits::admit_client(ClientTicket& ticket, const IpAddress& client,
                                            Instant now) const {
    RINGMX_ASSERT(ticket.client_key == 0);
    const std::uint64_t key = client_key(client);
    if (key == 0) {
        return AdmissionVerdict::admitted;
    }
    SharedCounters& clients = counters_.clients_;
    const std::uint32_t limit = settings_.connections_per_client == 0
                                    ? connections_unlimited
                                    : settings_.connections_per_client;
    const auto [outcome, entry] = clients.take(key, limit, now);
    if (outcome == SharedCounters::Taken::at_limit) {
        return AdmissionVerdict::refused_client_count;
    }
    if (!clients.admit(entry, connection_meter, connection_bucket_, now)) {
        clients.release(entry);
        return AdmissionVerdict::refused_client_rate;
    }
    ticket.entry = entry;
    ticket.client_key = key;
    return AdmissionVerdict::admitted;
}

Admission ClientLimits::admit_connection(const IpAddress& client, Instant now) const {
    Admission admission = admit_peer();
    if (admission.verdict != AdmissionVerdict::admitted) {
        return admission;
    }
    admission.verdict = admit_client(admission.ticket, client, now);
    if (admission.verdict != AdmissionVerdict::admitted) {
        release(admission.ticket);
    }
    return admission;
}

bool ClientLimits::admit_message(const ClientTicket& ticket, Instant now) const {
    return counters_.clients_.admit(ticket.entry, message_meter, message_bucket_, now);
}

bool ClientLimits::admit_recipient(const ClientTicket& ticket, Instant now) const {
    return counters_.clients_.admit(ticket.entry, recipient_meter, recipient_bucket_, now);
}

void ClientLimits::release(ClientTicket& ticket) const {
    counters_.clients_.release(ticket.entry);
    if (ticket.in_total) {
        const std::uint32_t before = counters_.total_.fetch_sub(1, std::memory_order_relaxed);
        RINGMX_ASSERT(before > 0);
    }
    ticket = {};
}

} // namespace ringmx::policy
