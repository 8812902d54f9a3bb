#include "admin/queue_table.h"

#include "admin/table_text.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace ringmx::admin {
namespace {

using simdjson::dom::element;

constexpr std::size_t recipients_shown = 3;

// Widths that hold what is usual, since lines are printed before the next page is known: "pool_hold",
// "1023.9 KiB", a date.
std::string line_of(std::string_view id, std::string_view state, std::string_view size,
                    std::string_view created, std::string_view attempts, std::string_view next,
                    std::string_view pool, std::string_view sender, std::string_view recipients) {
    return fmt::format("{:<13}  {:<9}  {:>10}  {:<20}  {:>8}  {:<20}  {:<10}  {}  {}\n", id, state,
                       size, created, attempts, next, pool, sender, recipients);
}

std::string sender_of(const element& entry) {
    std::string_view sender;
    const bool has_one = entry["sender"].get(sender) == simdjson::SUCCESS;
    return !has_one ? "-" : sender.empty() ? "<>" : text_at(entry, "sender");
}

// Those that pend or failed come first in what an operator wants to know.
std::string recipients_of(const element& entry) {
    simdjson::dom::array recipients;
    if (entry["recipients"].get(recipients) != simdjson::SUCCESS || recipients.size() == 0) {
        return "(can't be read)";
    }
    std::string text;
    std::size_t shown = 0;
    std::size_t others = 0;
    for (const element& recipient : recipients) {
        const std::string state = text_at(recipient, "state");
        if (state == "delivered" || state == "bounced" || shown == recipients_shown) {
            ++others;
            continue;
        }
        text += shown++ == 0 ? "" : ", ";
        text += text_at(recipient, "address");
        if (const std::string reply = text_at(recipient, "last_reply"); !reply.empty()) {
            text += " (" + reply + ")";
        }
    }
    if (others > 0) {
        fmt::format_to(std::back_inserter(text), "{}{} more", shown > 0 ? ", " : "", others);
    }
    return text;
}

bool is_entry(const element& entry) {
    std::string_view id;
    return entry["id"].get(id) == simdjson::SUCCESS;
}

} // namespace

std::string queue_heading() {
    return line_of("id", "state", "size", "created", "attempts", "next attempt", "pool", "sender",
                   "recipients");
}

std::optional<ListPage> read_queue_page(std::string_view json) {
    return read_list_page(json, "messages", [](const element& entry) {
        return line_of(text_at(entry, "id"), text_at(entry, "state"),
                       size_text(number_at(entry, "size")), text_at(entry, "created"),
                       fmt::to_string(count_at(entry, "attempts")),
                       or_dash(text_at(entry, "next_attempt")), or_dash(text_at(entry, "pool")),
                       sender_of(entry), recipients_of(entry));
    });
}

std::optional<std::string> queue_entry_table(std::string_view json) {
    simdjson::dom::parser parser;
    element entry;
    if (parser.parse(json.data(), json.size()).get(entry) != simdjson::SUCCESS ||
        !is_entry(entry)) {
        return std::nullopt;
    }
    std::string out = fmt::format(
        "id            {}\nstate         {}\nsender        {}\nsize          {}\n"
        "created       {}\nattempts      {}\nnext attempt  {}\npool          {}\n\n",
        text_at(entry, "id"), text_at(entry, "state"), sender_of(entry),
        size_text(number_at(entry, "size")), text_at(entry, "created"), count_at(entry, "attempts"),
        or_dash(text_at(entry, "next_attempt")), or_dash(text_at(entry, "pool")));
    simdjson::dom::array recipients;
    if (entry["recipients"].get(recipients) != simdjson::SUCCESS || recipients.size() == 0) {
        out += "the message can't be read now: see the log\n";
        return out;
    }
    std::size_t width = std::string_view("recipient").size();
    std::size_t pool_width = std::string_view("pool").size();
    for (const element& recipient : recipients) {
        width = std::max(width, text_at(recipient, "address").size());
        pool_width = std::max(pool_width, text_at(recipient, "pool").size());
    }
    fmt::format_to(std::back_inserter(out), "{:<{}}  {:<9}  {:<{}}  {}\n", "recipient", width,
                   "state", "pool", pool_width, "last reply");
    for (const element& recipient : recipients) {
        fmt::format_to(std::back_inserter(out), "{:<{}}  {:<9}  {:<{}}  {}\n",
                       text_at(recipient, "address"), width, text_at(recipient, "state"),
                       or_dash(text_at(recipient, "pool")), pool_width,
                       or_dash(text_at(recipient, "last_reply")));
    }
    return out;
}

std::optional<std::uint64_t> read_retried(std::string_view json) {
    return read_count(json, "retried");
}

} // namespace ringmx::admin
