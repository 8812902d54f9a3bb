#include "admin/status.h"

#include "base/escape.h"

#include <fmt/format.h>
#include <iterator>

namespace ringmx::admin {
namespace {

using observe::BackendCounters;
using observe::BackendRow;
using observe::CountersBy;
using observe::WorkerCounters;

// Objects and arrays with their commas; keys are ours and need no escaping.
class Json {
  public:
    explicit Json(std::string& out) : out_(out) {}

    void open(char bracket, std::string_view key = {}) {
        begin(key);
        out_.push_back(bracket);
        is_first_ = true;
    }
    void close(char bracket) {
        out_.push_back(bracket);
        is_first_ = false;
    }
    void text(std::string_view key, std::string_view value) {
        begin(key);
        out_.push_back('"');
        append_json_text(out_, value);
        out_.push_back('"');
    }
    template <typename Number> void number(std::string_view key, Number value) {
        begin(key);
        fmt::format_to(std::back_inserter(out_), "{}", value);
    }
    void boolean(std::string_view key, bool value) {
        begin(key);
        out_.append(value ? "true" : "false");
    }
    void seconds(std::string_view key, Duration value) {
        begin(key);
        fmt::format_to(std::back_inserter(out_), "{:.3f}",
                       static_cast<double>(value.count()) / 1e9);
    }

  private:
    void begin(std::string_view key) {
        if (!is_first_) {
            out_.push_back(',');
        }
        is_first_ = false;
        if (!key.empty()) {
            fmt::format_to(std::back_inserter(out_), "\"{}\":", key);
        }
    }

    std::string& out_;
    bool is_first_ = true;
};

template <typename Read> auto total(std::span<const WorkerCounters* const> workers, Read read) {
    decltype(read(*workers.front())) sum = 0;
    for (const WorkerCounters* worker : workers) {
        sum += read(*worker);
    }
    return sum;
}

template <typename Read> auto total(const BackendRow& row, Read read) {
    decltype(read(row.workers.front())) sum = 0;
    for (const BackendCounters& counters : row.workers) {
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

void append_backends(Json& json, const StatusSource& source) {
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
    Json json(out);
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

    append_backends(json, source);
    json.close('}');
    out.push_back('\n');
}

} // namespace ringmx::admin
