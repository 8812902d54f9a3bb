// The JSON of /api/queue, and the words in it.
//
// Out:    appended JSON; addresses and replies escaped.
// Thread: any.
// Errors: none.
// Source: CONTRACT 6.
#pragma once

#include "admin/json_writer.h"
#include "base/messages/queue_messages.h"

#include <optional>
#include <string>
#include <string_view>

namespace ringmx::admin {

// "active", "deferred", "parked", "held", "pool_hold", "failed"
[[nodiscard]] std::string_view name_of(QueueState state);
[[nodiscard]] std::optional<QueueState> queue_state(std::string_view name);
[[nodiscard]] std::string queue_state_names(); // "active, deferred, … or failed"
[[nodiscard]] std::string_view name_of(RecipientState state);

void append_queue_row(JsonWriter& json, const QueueRow& row);

} // namespace ringmx::admin
