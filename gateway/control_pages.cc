// What the admin address says: readiness, metrics, status, and whom the API's questions go to.
#include "admin/status.h"
#include "control.h"
#include "observe/exposition.h"

#include <algorithm>
#include <fmt/format.h>

namespace ringmx {
namespace {

std::string purge_text(std::string_view recipient) {
    return fmt::format("an operator purges what is known of {}",
                       recipient.empty() ? "all recipients" : recipient);
}

} // namespace

admin::Pages Control::pages() {
    admin::Pages made;
    made.unhealthy = [this](Instant now) { return unhealthy(now); };
    made.unready = [this] { return unready(); };
    made.metrics = [this](std::string& out) { append_metrics(out); };
    made.status = [this](std::string& out) { append_status(out); };
    made.queue = [this](const admin::QueueRequest& request, admin::Ticket ticket) {
        std::optional<admin::HttpResponse> refused =
            spool_ == nullptr ? std::nullopt : workers_absent();
        return refused ? std::move(refused) : desks_.ask(request, ticket);
    };
    made.cache = [this](const admin::CacheRequest& request, admin::Ticket ticket) {
        std::optional<admin::HttpResponse> refused = workers_absent();
        if (!refused) {
            refused = desks_.ask(request, ticket);
        }
        if (!refused && request.question.kind == CacheQuestion::Kind::purge) {
            notice(LogLevel::info, purge_text(request.question.recipient));
        }
        return refused;
    };
    return made;
}

// What there is to say when not all workers can be asked.
std::optional<admin::HttpResponse> Control::workers_absent() const {
    if (phase_ == Phase::starting) {
        return admin::text_response(503, "starting");
    }
    return phase_ >= Phase::draining ? std::optional(admin::text_response(503, "draining"))
                                     : std::nullopt;
}

std::string Control::unhealthy(Instant now) const {
    if (phase_ == Phase::starting || all_finished()) {
        return {};
    }
    const auto stalled = observe::stalled_worker(counters_, now, heartbeat_age_max);
    return stalled ? fmt::format("worker {} gave no sign of life for 5 s", *stalled)
                   : std::string{};
}

std::string Control::unready() const {
    if (phase_ == Phase::starting) {
        return "starting";
    }
    if (phase_ >= Phase::delaying || snapshot_ == nullptr) {
        return "draining";
    }
    if (spool_ != nullptr) {
        if (std::string reason = spool_->unready(counters_); !reason.empty()) {
            return reason;
        }
    }
    const bool needs_backend =
        std::ranges::all_of(snapshot_->settings->listeners, [](const ListenerSettings& listener) {
            return listener.acknowledge == Acknowledge::backend;
        });
    const bool has_one = std::ranges::any_of(snapshot_->pools, [this](const auto& pool) {
        return upstream::has_backend(pool->upstream, loop_.now());
    });
    return needs_backend && !has_one ? "no pool has a backend that is up" : std::string{};
}

std::optional<std::uint64_t> Control::unread_bytes() const {
    return spool_ != nullptr ? spool_->unread_bytes(counters_) : std::nullopt;
}

void Control::append_metrics(std::string& out) const {
    observe::MetricsSource source;
    source.version = version;
    source.workers = counters_;
    source.backends = &lasting_.counters;
    source.backend_up = [this](const observe::BackendRow& row) { return is_up(row); };
    source.started_at = started_at_;
    source.wall_now = port_->wall_time();
    source.spool_unread_bytes = unread_bytes();
    source.log_records_dropped_total = log_.dropped_total();
    for (const std::unique_ptr<WorkerThread>& worker : workers_) {
        source.log_records_dropped_total += worker->log().dropped_total();
    }
    source.config_reloads_total = reloads_total_;
    source.config_reload_failures_total = reload_failures_total_;
    observe::append_metrics(out, source);
}

void Control::append_status(std::string& out) const {
    admin::StatusSource source;
    source.version = version;
    source.hostname = configuration_.settings->hostname;
    source.started_at = started_at_;
    source.wall_now = port_->wall_time();
    source.now = loop_.now();
    source.unready = unready();
    source.unread_bytes = unread_bytes();
    source.workers = counters_;
    source.backends = &lasting_.counters;
    source.backend_up = [this](const observe::BackendRow& row) { return is_up(row); };
    admin::append_status(out, source);
}

bool Control::is_up(const observe::BackendRow& row) const {
    if (snapshot_ != nullptr) {
        for (const std::unique_ptr<worker::Pool>& pool : snapshot_->pools) {
            const auto found = std::ranges::find(pool->rows, &row);
            if (found != pool->rows.end()) {
                return pool->upstream.states[static_cast<std::size_t>(found - pool->rows.begin())]
                    ->is_offered(loop_.now());
            }
        }
    }
    return true;
}

} // namespace ringmx
