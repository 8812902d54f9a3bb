// What became of a message's recipients in one attempt, and what is left to do about them.
#pragma once

#include "smtp/delivery_report.h"
#include "spool/queue_entry.h"
#include "spool/stored_message.h"
#include "worker/only_place.h"

#include <cstdint>
#include <vector>

namespace ringmx::worker {

// A recipient of whom a mark tells: delivered, failed (and held), or removed.
struct Decided {
    std::uint32_t recipient = 0; // an index in the message
    spool::MarkKind kind = spool::MarkKind::delivered;
};

// A recipient who is over once a report about it is safe.
struct Reported {
    std::uint32_t recipient = 0;
    smtp::ReportAction action = smtp::ReportAction::failed;
    bool has_expired = false; // else it was refused for good
};

struct Tally {
    std::vector<Decided> decided = {};
    std::vector<Reported> reported = {};
    std::uint32_t failed = 0; // held, those of earlier attempts too
    std::uint32_t pending = 0;
    bool was_tried = false;     // somebody answered about somebody pending
    bool was_given_up = false;  // so that others have memory: somebody pends who only waited
    bool was_refused = false;   // a backend refused somebody for good
    bool lacks_backend = false; // somebody who pends: nobody takes mail for it now
    bool was_dialed = false;    // a backend was called, and nothing came of it
    std::uint16_t waits_for = spool::no_pool; // that has none; one that takes mail, if any
    std::uint16_t held_by = spool::no_pool;
    bool is_let_go = false; // a pool had held it, none does any more
    OnlyPlace place = {};   // of who pends

    // Nobody is left but those that are decided or reported.
    [[nodiscard]] bool is_last() const { return pending == 0 && failed == 0; }
};

} // namespace ringmx::worker
