#include "admin/queue_json.h"

#include "spool/message_id.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace ringmx::admin {
namespace {

constexpr std::array<std::string_view, queue_states_count> state_names = {
    "active", "deferred", "parked", "held", "pool_hold", "failed"};
static_assert(static_cast<std::size_t>(QueueState::failed) == state_names.size() - 1);

// "2024-01-02T03:04:05Z"
std::string date_text(WallTime time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch());
    const auto days = std::chrono::floor<std::chrono::days>(seconds);
    const std::chrono::year_month_day date{std::chrono::sys_days(days)};
    const std::chrono::hh_mm_ss clock{seconds - days};
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

} // namespace

std::string_view name_of(QueueState state) { return state_names[static_cast<std::size_t>(state)]; }

std::optional<QueueState> queue_state(std::string_view name) {
    const auto found = std::ranges::find(state_names, name);
    return found == state_names.end()
               ? std::nullopt
               : std::optional(static_cast<QueueState>(found - state_names.begin()));
}

std::string queue_state_names() {
    std::string names;
    for (const std::string_view name : state_names) {
        names += names.empty() ? "" : name == state_names.back() ? " or " : ", ";
        names += name;
    }
    return names;
}

std::string_view name_of(RecipientState state) {
    switch (state) {
    case RecipientState::pending:
        return "pending";
    case RecipientState::delivered:
        return "delivered";
    case RecipientState::failed:
        return "failed";
    case RecipientState::bounced:
        return "bounced";
    }
    return {};
}

void append_queue_row(JsonWriter& json, const QueueRow& row) {
    json.open('{');
    json.text("id", spool::id_text(row.id));
    if (row.recipients.empty()) { // it can't be read now
        json.null("sender");
    } else {
        json.text("sender", row.sender);
    }
    json.open('[', "recipients");
    for (const QueueRow::Recipient& recipient : row.recipients) {
        json.open('{');
        json.text("address", recipient.address);
        json.text("state", name_of(recipient.state));
        json.text("last_reply", recipient.last_reply);
        json.text("pool", recipient.pool);
        json.close('}');
    }
    json.close(']');
    json.number("size", row.size_bytes);
    json.number("attempts", row.attempts);
    if (row.next_attempt) {
        json.text("next_attempt", date_text(*row.next_attempt));
    } else {
        json.null("next_attempt");
    }
    json.text("created", date_text(row.created));
    json.text("state", name_of(row.state));
    json.text("pool", row.pool);
    json.close('}');
}

} // namespace ringmx::admin
