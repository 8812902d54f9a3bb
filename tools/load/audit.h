// Compares what was sent with what was received, by their records (one line a message:
// "MESSAGE-ID OCTETS CRC32C-hex").
//
//   sent record      of ringmx-load --record: each message that was acknowledged, and with a fourth
//                    word "unacknowledged" each that was sent whole without an answer, or refused
//   received records of ringmx-sink --record, of any number of sinks
//
//   lost        acknowledged, and in no received record
//   corrupted   received with other octets or another checksum than sent
//   unsent      received, and not in the sent record (one without a Message-ID always is)
//   duplicates  received more than once (counted for each time after the first)
//
// A message is counted once as corrupted however many of its copies are. What was sent without an
// acknowledgement may have come or not: neither is a fault.
// A last line that is not whole is what a killed process was writing, or a full disk. In a received
// record it is passed over, with a note: a sink acknowledges only what it has recorded. In the sent
// record nobody knows what would have followed, so that the audit fails.
//
// Memory: about 50 octets a message (hashes of Message-IDs); records are read as streams, the sent
//         one a second time to name what was lost: it must be an ordinary file.
// Thread: one.
// Errors: a file that can't be read, a line that is no record or tells a message of the sent record
//         again: file and line number. Listed are at most listed_max messages of each kind.
#pragma once

#include "base/error.h"
#include "load/options.h"

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace ringmx::load {

struct Audit {
    static constexpr std::size_t listed_max = 20;

    struct Kind {
        std::uint64_t count = 0;
        std::vector<std::string> listed; // Message-IDs
    };
    std::uint64_t acknowledged = 0;
    std::uint64_t unacknowledged = 0;
    std::uint64_t received = 0; // different ones
    Kind lost;
    Kind corrupted;
    Kind unsent;
    Kind duplicates;
    bool is_sent_torn = false;
    std::vector<std::string> notes; // of what makes the result weaker

    [[nodiscard]] bool passed() const {
        return lost.count == 0 && corrupted.count == 0 && unsent.count == 0 && !is_sent_torn;
    }
    [[nodiscard]] std::string text() const; // for people: the numbers, the lists, the verdict
};

// The error is a line for stderr, without the program's name and without the line end.
[[nodiscard]] std::expected<Audit, std::string> audit(const AuditOptions& options);

} // namespace ringmx::load
