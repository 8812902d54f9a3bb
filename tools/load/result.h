// What a run measured. Each worker fills one of its own; they are added up at the end.
//
//   sent = accepted + tempfailed + rejected + errors
//
// accepted:   the final reply was 2xx (LMTP: for every recipient that RCPT accepted)
// tempfailed, rejected: some reply was 4xx or 5xx; the first such one decides
// errors:     anything else: no connection, a connection that ended, a timeout, what is no SMTP
// lost:       those of `errors` whose last octet had been sent: nobody knows what became of them
// late:       messages of an open loop that were sent more than late_after past their due time
//             though a connection was idle: the generator was too slow, not the server
//
// Thread: a worker's own; add() when it has ended.
#pragma once

#include "base/instant.h"
#include "load/latency.h"
#include "load/options.h"
#include "load/threshold.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ringmx::load {

inline constexpr Duration late_after{10ms};

// One second of the run, by when a message was answered.
struct Second {
    std::uint64_t accepted = 0;
    std::uint64_t failed = 0; // tempfailed, rejected, errors
    std::uint64_t octets = 0; // of accepted ones
    Latency latency{Latency::Resolution::coarse};
};

struct Result {
    std::uint64_t sent = 0;
    std::uint64_t accepted = 0;
    std::uint64_t tempfailed = 0;
    std::uint64_t rejected = 0;
    std::uint64_t errors = 0;
    std::uint64_t lost = 0;
    std::uint64_t late = 0;
    std::uint64_t octets = 0; // of accepted messages, headers included
    std::uint64_t connections = 0;
    std::uint64_t recipients_refused = 0;
    std::array<Latency, static_cast<std::size_t>(Part::count_)> parts;
    std::vector<Second> seconds;
    // How often which reply or failure ended a message, as "450 4.7.1", "connect: Connection
    // refused"; at most kinds_max kinds, the rest under "other".
    static constexpr std::size_t kinds_max = 100;
    std::map<std::string, std::uint64_t> failures;
    Duration elapsed{0};      // first start to last answer
    double busiest_share = 0; // of the busiest worker's time that it was not waiting: near 1 the
                              // generator is the limit

    [[nodiscard]] Latency& part(Part which) { return parts[static_cast<std::size_t>(which)]; }
    [[nodiscard]] const Latency& part(Part which) const {
        return parts[static_cast<std::size_t>(which)];
    }
    void count_failure(const std::string& kind);
    void add(const Result& other); // elapsed and busiest_share: the larger one

    [[nodiscard]] double elapsed_seconds() const;
    [[nodiscard]] double messages_per_second() const; // accepted
    [[nodiscard]] double octets_per_second() const;
    // The run's own limits showed: what the figures say is not the server's doing. That is so when
    // more than a thousandth was late, or a worker of an open loop was hardly ever waiting.
    [[nodiscard]] bool is_generator_limited(const Options& options) const;
    // The measured value that `threshold` compares.
    [[nodiscard]] double value_of(const Threshold& threshold) const;
};

// For people, for programs (one object, one line), and for a browser (one file, no other).
[[nodiscard]] std::string table_of(const Result& result, const Options& options);
[[nodiscard]] std::string json_of(const Result& result, const Options& options);
[[nodiscard]] std::string html_of(const Result& result, const Options& options);

} // namespace ringmx::load
