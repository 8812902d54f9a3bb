// A reply as a log record takes it: observe/ knows nothing of smtp/.
//
// Thread: any. Errors: none.
#pragma once

#include "observe/log_record.h"
#include "smtp/reply.h"

namespace ringmx::worker {

[[nodiscard]] inline observe::LogReply for_log(const smtp::Reply& reply) {
    return {reply.code, reply.enhanced.class_digit, reply.enhanced.subject, reply.enhanced.detail,
            reply.text};
}

} // namespace ringmx::worker
