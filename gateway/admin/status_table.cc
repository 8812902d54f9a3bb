#include "admin/status_table.h"

#include "admin/table_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <vector>

namespace ringmx::admin {
namespace {

using simdjson::dom::element;

constexpr std::size_t columns_count = 6;
using Row = std::array<std::string, columns_count>;

// Columns as wide as their longest cell; numbers, from the fourth column on, to the right.
void append_rows(std::string& out, const std::vector<Row>& rows) {
    constexpr std::size_t first_number = 3;
    std::array<std::size_t, columns_count> widths{};
    for (const Row& row : rows) {
        for (std::size_t column = 0; column < columns_count; ++column) {
            widths[column] = std::max(widths[column], row[column].size());
        }
    }
    for (const Row& row : rows) {
        std::string line;
        for (std::size_t column = 0; column < columns_count; ++column) {
            line += column == 0 ? "" : "  ";
            if (column < first_number) {
                fmt::format_to(std::back_inserter(line), "{:<{}}", row[column], widths[column]);
            } else {
                fmt::format_to(std::back_inserter(line), "{:>{}}", row[column], widths[column]);
            }
        }
        out += line + "\n";
    }
}

// In one line what there is, and in another what an operator may have to see to.
void append_queue(std::string& out, const element& root) {
    element queue;
    if (root["queue"].get(queue) != simdjson::SUCCESS) {
        return; // of a version that had none
    }
    bool is_complete = true;
    if (queue["complete"].get(is_complete) == simdjson::SUCCESS && !is_complete) {
        fmt::format_to(std::back_inserter(out),
                       "queue        what earlier runs left is still read, {} to go, and not "
                       "counted here\n",
                       size_text(number_at(queue, "unread_bytes")));
    }
    const std::uint64_t messages = count_at(queue, "messages");
    fmt::format_to(std::back_inserter(out), "queue        {} messages, {}", messages,
                   size_text(number_at(queue, "bytes")));
    if (messages == 0) {
        out += "\n";
        return;
    }
    fmt::format_to(std::back_inserter(out), ", oldest {}\n",
                   elapsed_text(number_at(queue, "oldest_seconds")));
    element states;
    if (queue["states"].get(states) != simdjson::SUCCESS) {
        return;
    }
    const std::size_t before = out.size();
    for (const char* const state :
         {"active", "deferred", "parked", "held", "pool_hold", "failed"}) {
        if (const std::uint64_t count = count_at(states, state); count > 0) {
            fmt::format_to(std::back_inserter(out), "{}{} {}",
                           out.size() == before ? "             " : ", ", count, state);
        }
    }
    out += out.size() == before ? "" : "\n";
    simdjson::dom::array pools;
    if (queue["pools"].get(pools) != simdjson::SUCCESS) {
        return;
    }
    for (const element& pool : pools) {
        const std::uint64_t parked = count_at(pool, "parked");
        const std::uint64_t held = count_at(pool, "pool_hold");
        if (parked + held > 0) {
            fmt::format_to(std::back_inserter(out), "             pool {}: {} parked, {} on hold\n",
                           text_at(pool, "pool"), parked, held);
        }
    }
}

void append_backends(std::string& out, const element& root) {
    simdjson::dom::array backends;
    if (root["backends"].get(backends) != simdjson::SUCCESS || backends.size() == 0) {
        return;
    }
    std::vector<Row> rows = {{"pool", "backend", "state", "connections", "forwarded", "failures"}};
    for (const element& backend : backends) {
        rows.push_back({text_at(backend, "pool"), text_at(backend, "backend"),
                        flag_at(backend, "up") ? "up" : "down",
                        fmt::to_string(count_at(backend, "connections_open")),
                        fmt::to_string(count_at(backend, "messages_forwarded")),
                        fmt::to_string(count_at(backend, "failures"))});
    }
    out += "\n";
    append_rows(out, rows);
}

} // namespace

std::optional<std::string> status_table(std::string_view json) {
    simdjson::dom::parser parser;
    element root;
    element connections;
    element messages;
    if (parser.parse(json.data(), json.size()).get(root) != simdjson::SUCCESS ||
        root["connections"].get(connections) != simdjson::SUCCESS ||
        root["messages"].get(messages) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    std::string out =
        fmt::format("ringmx {} on {}, up {}, ", text_at(root, "version"), text_at(root, "hostname"),
                    elapsed_text(number_at(root, "uptime_seconds")));
    out += flag_at(root, "ready") ? "ready\n" : "not ready: " + text_at(root, "reason") + "\n";
    simdjson::dom::array workers;
    if (root["workers"].get(workers) == simdjson::SUCCESS) {
        double memory_bytes = 0;
        for (const element& worker : workers) {
            memory_bytes += number_at(worker, "memory_bytes_in_use");
        }
        fmt::format_to(std::back_inserter(out), "workers      {}, {:.1f} MiB of buffers in use\n",
                       workers.size(), memory_bytes / (1024 * 1024));
    }
    fmt::format_to(std::back_inserter(out), "connections  {} open, {} in all, {} refused\n",
                   count_at(connections, "open"), count_at(connections, "total"),
                   count_at(connections, "refused"));
    fmt::format_to(std::back_inserter(out),
                   "messages     {} accepted, {} rejected, {:.1f} MiB received\n",
                   count_at(messages, "accepted"), count_at(messages, "rejected"),
                   number_at(messages, "bytes_received") / (1024 * 1024));
    append_queue(out, root);
    append_backends(out, root);
    return out;
}

} // namespace ringmx::admin
