// What one worker counted, and what all of them did.
//
// messages, recipients and bytes are of acknowledged messages only (250 for at least one
// recipient); bytes are counted after unstuffing. unique + duplicates = messages: a message whose
// Message-ID came before is a duplicate; one without the field is always unique. unanswered are
// those that were taken and, on purpose, not acknowledged.
// Thread: a worker's own while it runs; read when it has ended.
#pragma once

#include "sink/id_set.h"

#include <cstdint>
#include <string>

namespace ringmx::sink {

struct Totals {
    std::uint64_t connections = 0;
    std::uint64_t messages = 0;
    std::uint64_t recipients = 0;
    std::uint64_t bytes = 0;
    std::uint64_t messages_without_id = 0;
    std::uint64_t unanswered = 0;
    IdSet ids;

    void add(const Totals& other);
    [[nodiscard]] std::string json(bool with_unanswered) const; // one line
};

} // namespace ringmx::sink
