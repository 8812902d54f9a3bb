// What main asks workers about their parts of the queue, and what they answer.
//
// Main asks every worker: who has a message is not known outside. Each worker answers each question
// once. Ages are a worker's own order of its messages, see spool/queue_index.h: a place in its list
// that stays one while messages come and go.
// Bounds:  a list's answer has at most `limit` rows, and about rows_bytes_max octets of them; it may
//          end earlier, even without a row, when much had to be looked at: `next` is where to go on.
// Thread:  any; each value belongs to one.
#pragma once

#include "base/instant.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringmx {

enum class QueueState : std::uint8_t {
    active,    // being forwarded now
    due,       // to be tried at its next attempt
    parked,    // its pool has no backend that takes mail
    on_hold,   // by an operator
    pool_hold, // its pool is on hold
    failed,    // for good, for all or the rest of its recipients
};
inline constexpr std::size_t queue_states_count = 6;

// The values are those on the disk.
enum class RecipientState : std::uint8_t {
    pending = 0,
    delivered = 1,
    failed = 2,  // for good: held until an operator acts
    bounced = 3, // for good: its sender was told, or wanted no word; or the message is removed
};

// The one mailbox that needs no domain (RFC 5321, 4.5.1).
inline constexpr const char* bare_postmaster = "postmaster";

struct QueueFilter {
    // An address, "@" and a domain, or bare_postmaster: whoever that is here, or a domain of that name. Empty: any; one of
    // a message's is enough.
    std::string recipient = {};
    std::string sender = {};  // likewise; "<>": the null sender
    std::string pool = {};    // of a recipient who pends, or failed
    std::string backend = {}; // the hash's first choice for a recipient that pends
    std::optional<QueueState> state = {};
    Duration older_than{};

    bool operator==(const QueueFilter&) const = default;
};

struct QueueQuestion {
    enum class Kind : std::uint8_t { list, show, retry, retry_all, hold, release, remove };

    std::uint64_t number = 0; // main's
    Kind kind = Kind::list;
    std::uint64_t id = 0;    // of all but list and retry_all
    QueueFilter filter = {}; // of list, as the rest
    std::uint64_t after = 0;
    std::uint32_t limit = 0;
};

struct QueueRow {
    struct Recipient {
        std::string address;
        RecipientState state = RecipientState::pending;
        std::string last_reply; // empty: none is known
        std::string pool = {};  // by the routes of now; empty: none takes it
    };
    std::uint64_t id = 0;
    std::uint64_t age = 0;
    QueueState state = QueueState::active;
    std::string sender;
    std::vector<Recipient> recipients; // empty: the message can't be read now
    std::string pool;                  // that it goes to or waits for, "one,two"; empty: not known
    std::uint64_t size_bytes = 0;      // without the trace field
    std::uint32_t attempts = 0;        // that failed
    WallTime created{};
    std::optional<WallTime> next_attempt;
};

struct QueueAnswer {
    enum class Result : std::uint8_t {
        done,
        unknown, // no such message here (any more)
        busy, // memory is short, this worker ends, or another change of this message is under way
        not_durable, // it could not be written: `error`
    };
    static constexpr std::size_t rows_bytes_max = 256 * 1024;

    std::uint64_t question = 0; // its number
    std::uint32_t worker = 0;
    Result result = Result::done;
    int error = 0;
    std::vector<QueueRow> rows = {}; // of list, in order of age; of show, one
    std::uint64_t next = 0;          // of list: the age to go on after
    bool is_end = true;              // of list: there is nothing behind `next`
    std::uint64_t changed = 0;       // of retry_all
};

} // namespace ringmx
