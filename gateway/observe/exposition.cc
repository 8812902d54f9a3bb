#include "observe/exposition.h"

#include "base/escape.h"

#include <fmt/format.h>
#include <iterator>

namespace ringmx::observe {
namespace {

// Writes one metric after the other: its HELP and TYPE, then its samples.
class Page {
  public:
    explicit Page(std::string& out) : out_(out) {}

    void begin(std::string_view name, std::string_view type, std::string_view help) {
        name_ = name;
        fmt::format_to(std::back_inserter(out_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name,
                       type);
    }

    // `labels` is empty, or name="escaped value" pairs with commas between.
    template <typename Number>
    void sample(std::string_view labels, Number value, std::string_view suffix = {}) {
        out_.append(name_).append(suffix);
        if (!labels.empty()) {
            out_.append("{").append(labels).append("}");
        }
        fmt::format_to(std::back_inserter(out_), " {}\n", value);
    }

  private:
    std::string& out_;
    std::string_view name_;
};

std::string label(std::string_view name, std::string_view value) {
    std::string text;
    text.append(name).append("=\"");
    append_label_text(text, value);
    text.append("\"");
    return text;
}

std::string backend_labels(const BackendRow& row) {
    return label("pool", row.pool) + "," + label("backend", row.backend);
}

template <typename Owners, typename Read> auto total(const Owners& owners, Read read) {
    decltype(read(*std::begin(owners))) sum = 0;
    for (const auto& owner : owners) {
        sum += read(owner);
    }
    return sum;
}

// Nanoseconds as seconds, exactly: a double would lose the last digits of a long sum.
std::string seconds(std::uint64_t nanoseconds) {
    return fmt::format("{}.{:09}", nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000);
}

// A bound as Prometheus' clients write it: 0.0001, 2.5, 600.
std::string bound_text(std::uint64_t nanoseconds) {
    std::string text = seconds(nanoseconds);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) {
        text.pop_back();
    }
    return text;
}

struct HistogramSum {
    std::array<std::uint64_t, Histogram::buckets_count> buckets{};
    std::uint64_t nanoseconds = 0;

    void add(const Histogram& histogram) {
        for (std::size_t index = 0; index < buckets.size(); ++index) {
            buckets[index] += histogram.bucket(index);
        }
        nanoseconds += histogram.sum_nanoseconds();
    }
};

void append_histogram(Page& page, const std::string& labels, const HistogramSum& sum) {
    const std::string prefix = labels.empty() ? "" : labels + ",";
    std::uint64_t count = 0;
    for (std::size_t index = 0; index < Histogram::bounds.size(); ++index) {
        count += sum.buckets[index];
        page.sample(prefix + label("le", bound_text(Histogram::bounds[index])), count, "_bucket");
    }
    count += sum.buckets.back();
    page.sample(prefix + label("le", "+Inf"), count, "_bucket");
    page.sample(labels, seconds(sum.nanoseconds), "_sum");
    page.sample(labels, count, "_count");
}

using Workers = std::span<const WorkerCounters* const>;

void append_total(Page& page, Workers workers, std::string_view name, std::string_view help,
                  Counter WorkerCounters::* counter) {
    page.begin(name, "counter", help);
    page.sample({}, total(workers, [&](const WorkerCounters* worker) {
                    return (worker->*counter).value();
                }));
}

void append_gauge(Page& page, Workers workers, std::string_view name, std::string_view help,
                  Gauge WorkerCounters::* gauge) {
    page.begin(name, "gauge", help);
    page.sample(
        {}, total(workers, [&](const WorkerCounters* worker) { return (worker->*gauge).value(); }));
}

template <typename Reason>
void append_reasons(Page& page, Workers workers, std::string_view name, std::string_view help,
                    CountersBy<Reason> WorkerCounters::* counters,
                    std::string_view label_name = "reason") {
    page.begin(name, "counter", help);
    for (std::size_t index = 0; index < CountersBy<Reason>::size; ++index) {
        const auto reason = static_cast<Reason>(index);
        page.sample(label(label_name, name_of(reason)),
                    total(workers, [&](const WorkerCounters* worker) {
                        return (worker->*counters)[reason].value();
                    }));
    }
}

void append_process(Page& page, const MetricsSource& source) {
    page.begin("ringmx_build_info", "gauge", "The version that runs, as a label.");
    page.sample(label("version", source.version), 1);
    page.begin("ringmx_workers", "gauge", "Worker threads.");
    page.sample({}, source.workers.size());
    page.begin("process_start_time_seconds", "gauge", "When the process started, since 1970.");
    page.sample(
        {}, bound_text(static_cast<std::uint64_t>(source.started_at.time_since_epoch().count())));
    page.begin("ringmx_config_reloads_total", "counter", "Configs taken by SIGHUP.");
    page.sample({}, source.config_reloads_total);
    page.begin("ringmx_config_reload_failures_total", "counter", "Configs refused by SIGHUP.");
    page.sample({}, source.config_reload_failures_total);
}

void append_clients(Page& page, Workers workers) {
    append_total(page, workers, "ringmx_connections_total",
                 "Connections from clients, refused ones included.",
                 &WorkerCounters::connections_total);
    append_gauge(page, workers, "ringmx_connections_open",
                 "Connections from clients that are open.", &WorkerCounters::connections_open);
    append_total(page, workers, "ringmx_accept_failures_total",
                 "Accepts that failed for want of descriptors or memory; the client waits.",
                 &WorkerCounters::accept_failures_total);
    append_reasons(page, workers, "ringmx_connections_refused_total",
                   "Connections turned away before their first command.",
                   &WorkerCounters::connections_refused);
    append_total(page, workers, "ringmx_connections_lost_total",
                 "Connections that ended without QUIT.", &WorkerCounters::connections_lost_total);
    append_total(page, workers, "ringmx_client_timeouts_total",
                 "Connections cut by a command or data timeout.", &WorkerCounters::timeouts_total);
    append_total(page, workers, "ringmx_commands_total", "SMTP commands from clients.",
                 &WorkerCounters::commands_total);
    append_total(page, workers, "ringmx_protocol_errors_total",
                 "Commands that ringmx itself answered with 5xx.",
                 &WorkerCounters::protocol_errors_total);
    append_total(page, workers, "ringmx_bytes_received_total", "Octets received from clients.",
                 &WorkerCounters::bytes_received_total);
    append_total(page, workers, "ringmx_bytes_sent_total", "Octets sent to clients.",
                 &WorkerCounters::bytes_sent_total);
}

void append_verifications(Page& page, Workers workers) {
    struct Source {
        std::string_view name;
        CountersBy<VerificationResult> WorkerCounters::* counters;
    };
    constexpr Source sources[] = {{"cache", &WorkerCounters::verifications_cached},
                                  {"backend", &WorkerCounters::verifications_asked}};
    page.begin("ringmx_verifications_total", "counter",
               "Answers about recipients to be verified, and where they came from.");
    for (const Source& source : sources) {
        for (std::size_t index = 0; index < CountersBy<VerificationResult>::size; ++index) {
            const auto result = static_cast<VerificationResult>(index);
            page.sample(label("source", source.name) + "," + label("result", name_of(result)),
                        total(workers, [&](const WorkerCounters* worker) {
                            return (worker->*source.counters)[result].value();
                        }));
        }
    }
    append_gauge(page, workers, "ringmx_verification_entries",
                 "Answers about recipients that are kept.", &WorkerCounters::verification_entries);
}

void append_messages(Page& page, Workers workers) {
    append_total(page, workers, "ringmx_messages_accepted_total", "Messages answered with 250.",
                 &WorkerCounters::messages_accepted_total);
    append_reasons(page, workers, "ringmx_messages_rejected_total",
                   "Messages not taken, by reason.", &WorkerCounters::messages_rejected);
    append_total(page, workers, "ringmx_message_bytes_accepted_total",
                 "Octets of accepted messages.", &WorkerCounters::message_bytes_accepted_total);
    append_total(page, workers, "ringmx_recipients_accepted_total", "Recipients answered with 250.",
                 &WorkerCounters::recipients_accepted_total);
    append_reasons(page, workers, "ringmx_recipients_rejected_total",
                   "Recipients refused, by reason.", &WorkerCounters::recipients_rejected);
    append_total(page, workers, "ringmx_transactions_replayed_total",
                 "Envelopes sent again, after a pause or to another backend.",
                 &WorkerCounters::transactions_replayed_total);
    page.begin("ringmx_acknowledge_seconds", "histogram", "From the end of data to the reply.");
    HistogramSum sum;
    for (const WorkerCounters* worker : workers) {
        sum.add(worker->acknowledge);
    }
    append_histogram(page, {}, sum);
}

void append_queue(Page& page, const MetricsSource& source) {
    const Workers workers = source.workers;
    append_gauge(page, workers, "ringmx_queue_messages",
                 "Messages in the queue, held ones included.", &WorkerCounters::queue_messages);
    append_gauge(page, workers, "ringmx_queue_bytes", "Octets of those, as stored.",
                 &WorkerCounters::queue_bytes);
    std::int64_t oldest = INT64_MAX;
    for (const WorkerCounters* worker : workers) {
        const std::int64_t accepted_at = worker->queue_oldest_accepted_at.value();
        oldest = accepted_at == 0 ? oldest : std::min(oldest, accepted_at);
    }
    const std::int64_t now =
        std::chrono::duration_cast<std::chrono::seconds>(source.wall_now.time_since_epoch())
            .count();
    page.begin("ringmx_queue_oldest_seconds", "gauge", "Age of the oldest message in the queue.");
    page.sample({}, std::max<std::int64_t>(now - std::min(oldest, now), 0));
    append_total(page, workers, "ringmx_queue_held_removed_total",
                 "Failed messages that left when spool.held ran out.",
                 &WorkerCounters::queue_held_removed_total);
    append_total(page, workers, "ringmx_queue_set_aside_total",
                 "Messages that could not be read and are kept beside the spool.",
                 &WorkerCounters::queue_set_aside_total);
    append_reasons(page, workers, "ringmx_reports_total",
                   "Reports to senders that were queued, by the worst that they tell.",
                   &WorkerCounters::reports, "action");
    append_total(page, workers, "ringmx_reports_dropped_total",
                 "Reports of messages handed on that had nowhere to go, or could not be written.",
                 &WorkerCounters::reports_dropped_total);
    append_total(page, workers, "ringmx_spool_commits_total", "Commits that are durable.",
                 &WorkerCounters::spool_commits_total);
    append_total(page, workers, "ringmx_spool_records_total",
                 "Records in those: over the commits, the size of a batch.",
                 &WorkerCounters::spool_records_total);
    append_total(page, workers, "ringmx_spool_bytes_written_total",
                 "Octets of those, padding included.", &WorkerCounters::spool_bytes_total);
    append_total(page, workers, "ringmx_spool_write_failures_total", "Writes that failed.",
                 &WorkerCounters::spool_failures_total);
    append_gauge(page, workers, "ringmx_spool_room_bytes", "What new mail may still take.",
                 &WorkerCounters::spool_room_bytes);
    page.begin("ringmx_spool_recovering", "gauge",
               "1 while what earlier runs left is read: it is not in the queue yet.");
    page.sample({}, source.spool_unread_bytes ? 1 : 0);
    page.begin("ringmx_spool_unread_bytes", "gauge", "What is still to be read of that.");
    page.sample({}, source.spool_unread_bytes.value_or(0));
    page.begin("ringmx_spool_commit_seconds", "histogram",
               "From handing a write to the kernel to its end.");
    HistogramSum sum;
    for (const WorkerCounters* worker : workers) {
        sum.add(worker->spool_commit);
    }
    append_histogram(page, {}, sum);
}

void append_loops(Page& page, const MetricsSource& source) {
    const Workers workers = source.workers;
    append_total(page, workers, "ringmx_turns_total", "Turns of the workers' loops.",
                 &WorkerCounters::turns_total);
    append_total(page, workers, "ringmx_operations_total", "Operations given to the kernel.",
                 &WorkerCounters::operations_total);
    append_total(page, workers, "ringmx_completions_total", "Completions taken from the kernel.",
                 &WorkerCounters::completions_total);
    append_total(page, workers, "ringmx_receive_starved_total", "Receives that found no buffer.",
                 &WorkerCounters::receive_starved_total);
    append_gauge(page, workers, "ringmx_memory_bytes_in_use", "Buffer memory in use.",
                 &WorkerCounters::memory_bytes_in_use);
    page.begin("ringmx_log_records_dropped_total", "counter",
               "Log records lost because the log is too slow.");
    page.sample({}, source.log_records_dropped_total);
}

template <typename Read>
void append_rows(Page& page, const BackendRegistry& registry, std::string_view name,
                 std::string_view type, std::string_view help, Read read) {
    page.begin(name, type, help);
    for (const BackendRow& row : registry.rows()) {
        page.sample(backend_labels(row), total(row.workers, read));
    }
}

void append_backends(Page& page, const MetricsSource& source) {
    append_total(page, source.workers, "ringmx_backend_bytes_sent_total",
                 "Octets sent to backends.", &WorkerCounters::backend_bytes_sent_total);
    append_total(page, source.workers, "ringmx_backend_bytes_received_total",
                 "Octets received from backends.", &WorkerCounters::backend_bytes_received_total);
    if (source.backends == nullptr) {
        return;
    }
    const BackendRegistry& registry = *source.backends;
    append_rows(page, registry, "ringmx_messages_forwarded_total", "counter",
                "Messages that a backend took.", [](const BackendCounters& counters) {
                    return counters.messages_forwarded_total.value();
                });
    page.begin("ringmx_forward_failures_total", "counter",
               "Attempts to forward that failed, by kind.");
    for (const BackendRow& row : registry.rows()) {
        for (std::size_t index = 0; index < CountersBy<ForwardFailure>::size; ++index) {
            const auto kind = static_cast<ForwardFailure>(index);
            page.sample(backend_labels(row) + "," + label("kind", name_of(kind)),
                        total(row.workers, [&](const BackendCounters& counters) {
                            return counters.failures[kind].value();
                        }));
        }
    }
    append_rows(page, registry, "ringmx_backend_connections_total", "counter",
                "Connections opened to a backend.",
                [](const BackendCounters& counters) { return counters.connections_total.value(); });
    append_rows(page, registry, "ringmx_backend_connections_open", "gauge",
                "Connections to a backend that are open.",
                [](const BackendCounters& counters) { return counters.connections_open.value(); });
    page.begin("ringmx_backend_up", "gauge", "Whether a configured backend takes mail.");
    for (const BackendRow& row : registry.rows()) {
        if (row.configured) {
            page.sample(backend_labels(row), !source.backend_up || source.backend_up(row) ? 1 : 0);
        }
    }
    page.begin("ringmx_forward_seconds", "histogram",
               "From offering a message to a backend to its final reply.");
    for (const BackendRow& row : registry.rows()) {
        HistogramSum sum;
        for (const BackendCounters& counters : row.workers) {
            sum.add(counters.forward);
        }
        append_histogram(page, backend_labels(row), sum);
    }
}

} // namespace

void append_metrics(std::string& out, const MetricsSource& source) {
    Page page(out);
    append_process(page, source);
    append_clients(page, source.workers);
    append_messages(page, source.workers);
    append_queue(page, source);
    append_verifications(page, source.workers);
    append_backends(page, source);
    append_loops(page, source);
}

} // namespace ringmx::observe
