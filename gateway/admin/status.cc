#include "admin/status.h"

#include "admin/json_writer.h"
#include "admin/queue_json.h"

#include <algorithm>

namespace ringmx::admin {
namespace {

using observe::BackendRow;
using observe::CountersBy;
using observe::WorkerCounters;

template <typename Read> auto total(std::span<const WorkerCounters* const> workers, Read read) {
    decltype(read(*workers.front())) sum = 0;
    for (const WorkerCounters* worker : workers) {
        sum += read(*worker);
    }
    return sum;
}

// Of a backend's or a pool's row.
template <typename Row, typename Read>
    requires requires(const Row& row) { row.workers; }
auto total(const Row& row, Read read) {
    decltype(read(row.workers.front())) sum = 0;
    for (const auto& counters : row.workers) {
        sum += read(counters);
    }
    return sum;
}

template <typename Reason> std::uint64_t all(const CountersBy<Reason>& counters) {
    std::uint64_t sum = 0;
    for (std::size_t index = 0; index < CountersBy<Reason>::size; ++index) {
        sum += counters[static_cast<Reason>(index)].value();
    }
    return sum;
}

void append_queue(JsonWriter& json, const StatusSource& source) {
    const auto sum = [&](auto read) { return total(source.workers, read); };
    std::int64_t oldest = 0;
    for (const WorkerCounters* worker : source.workers) {
        const std::int64_t own = worker->queue_oldest_accepted_at.value();
        oldest = oldest == 0 || (own != 0 && own < oldest) ? own : oldest;
    }
    const Duration age = source.wall_now - WallTime(std::chrono::seconds(oldest));
    json.open('{', "queue");
    json.number("messages", sum([](const auto& each) { return each.queue_messages.value(); }));
    json.number("bytes", sum([](const auto& each) { return each.queue_bytes.value(); }));
    json.seconds("oldest_seconds", oldest == 0 ? Duration{} : std::max(age, Duration{}));
    json.number("room_bytes", sum([](const auto& each) { return each.spool_room_bytes.value(); }));
    json.boolean("complete", !source.unread_bytes);
    json.number("unread_bytes", source.unread_bytes.value_or(0));
    json.open('{', "states");
    for (std::size_t state = 0; state < queue_states_count; ++state) {
        json.number(name_of(static_cast<QueueState>(state)), sum([state](const auto& each) {
                        return each.queue_messages_by_state[state].value();
                    }));
    }
    json.close('}');
    json.open('[', "pools");
    if (source.backends != nullptr) {
        for (const observe::PoolRow& row : source.backends->pool_rows()) {
            if (!row.configured) {
                continue;
            }
            json.open('{');
            json.text("pool", row.pool);
            json.number("parked",
                        total(row, [](const auto& each) { return each.queue_parked.value(); }));
            json.number("pool_hold",
                        total(row, [](const auto& each) { return each.queue_pool_hold.value(); }));
            json.close('}');
        }
    }
    json.close(']');
    json.close('}');
}

void append_backends(JsonWriter& json, const StatusSource& source) {
    json.open('[', "backends");
    if (source.backends != nullptr) {
        for (const BackendRow& row : source.backends->rows()) {
            if (!row.configured) {
                continue;
            }
            json.open('{');
            json.text("pool", row.pool);
            json.text("backend", row.backend);
            json.boolean("up", !source.backend_up || source.backend_up(row));
            json.number("connections_open",
                        total(row, [](const auto& each) { return each.connections_open.value(); }));
            json.number("messages_forwarded", total(row, [](const auto& each) {
                            return each.messages_forwarded_total.value();
                        }));
            json.number("failures",
                        total(row, [](const auto& each) { return all(each.failures); }));
            json.close('}');
        }
    }
    json.close(']');
}

} // namespace

void append_status(std::string& out, const StatusSource& source) {
    const auto sum = [&](auto read) { return total(source.workers, read); };
    JsonWriter json(out);
    json.open('{');
    json.text("version", source.version);
    json.text("hostname", source.hostname);
    json.seconds("uptime_seconds", source.wall_now - source.started_at);
    json.boolean("ready", source.unready.empty());
    json.text("reason", source.unready);

    json.open('[', "workers");
    for (std::size_t index = 0; index < source.workers.size(); ++index) {
        const WorkerCounters& worker = *source.workers[index];
        json.open('{');
        json.number("worker", index);
        json.seconds("heartbeat_age_seconds", source.now - worker.heartbeat());
        json.number("connections_open", worker.connections_open.value());
        json.number("messages_accepted", worker.messages_accepted_total.value());
        json.number("memory_bytes_in_use", worker.memory_bytes_in_use.value());
        json.close('}');
    }
    json.close(']');

    json.open('{', "connections");
    json.number("open", sum([](const auto& each) { return each.connections_open.value(); }));
    json.number("total", sum([](const auto& each) { return each.connections_total.value(); }));
    json.number("refused", sum([](const auto& each) { return all(each.connections_refused); }));
    json.close('}');

    json.open('{', "messages");
    json.number("accepted",
                sum([](const auto& each) { return each.messages_accepted_total.value(); }));
    json.number("rejected", sum([](const auto& each) { return all(each.messages_rejected); }));
    json.number("bytes_received",
                sum([](const auto& each) { return each.bytes_received_total.value(); }));
    json.close('}');

    append_queue(json, source);
    append_backends(json, source);
    json.close('}');
    out.push_back('\n');
}

} // namespace ringmx::admin
