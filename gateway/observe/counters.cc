#include "observe/counters.h"

#include <algorithm>

namespace ringmx::observe {

RejectReason reject_reason(RecipientReason reason) {
    switch (reason) {
    case RecipientReason::no_route:
        return RejectReason::no_route;
    case RecipientReason::unknown_recipient:
        return RejectReason::unknown_recipient;
    case RecipientReason::syntax:
        return RejectReason::syntax;
    case RecipientReason::size:
        return RejectReason::size;
    case RecipientReason::rate_limit:
        return RejectReason::rate_limit;
    case RecipientReason::no_memory:
        return RejectReason::no_memory;
    case RecipientReason::backend_unavailable:
        return RejectReason::backend_unavailable;
    case RecipientReason::backend_tempfail:
        return RejectReason::backend_tempfail;
    case RecipientReason::backend_reject:
        return RejectReason::backend_reject;
    case RecipientReason::backend_fault:
        return RejectReason::backend_fault;
    case RecipientReason::recipients_limit: // these two need an accepted recipient before them
    case RecipientReason::other_pool:
    case RecipientReason::count_:
        break;
    }
    return RejectReason::abandoned;
}

std::string_view name_of(RejectReason reason) {
    switch (reason) {
    case RejectReason::no_route:
        return "no_route";
    case RejectReason::unknown_recipient:
        return "unknown_recipient";
    case RejectReason::size:
        return "size";
    case RejectReason::syntax:
        return "syntax";
    case RejectReason::bare_newline:
        return "bare_newline";
    case RejectReason::nul_line:
        return "nul_line";
    case RejectReason::received_loop:
        return "received_loop";
    case RejectReason::rate_limit:
        return "rate_limit";
    case RejectReason::no_memory:
        return "no_memory";
    case RejectReason::spool_full:
        return "spool_full";
    case RejectReason::disk_error:
        return "disk_error";
    case RejectReason::backend_unavailable:
        return "backend_unavailable";
    case RejectReason::backend_tempfail:
        return "backend_tempfail";
    case RejectReason::backend_reject:
        return "backend_reject";
    case RejectReason::backend_fault:
        return "backend_fault";
    case RejectReason::client_gone:
        return "client_gone";
    case RejectReason::timeout:
        return "timeout";
    case RejectReason::too_slow:
        return "too_slow";
    case RejectReason::too_many_errors:
        return "too_many_errors";
    case RejectReason::abandoned:
        return "abandoned";
    case RejectReason::shutdown:
        return "shutdown";
    case RejectReason::count_:
        break;
    }
    RINGMX_ASSERT_STATE(false, "reason %u", static_cast<unsigned>(reason));
    return {};
}

std::string_view name_of(RefuseReason reason) {
    switch (reason) {
    case RefuseReason::client_connections:
        return "client_connections";
    case RefuseReason::client_rate:
        return "client_rate";
    case RefuseReason::connections:
        return "connections";
    case RefuseReason::early_talker:
        return "early_talker";
    case RefuseReason::proxy_untrusted:
        return "proxy_untrusted";
    case RefuseReason::proxy_header:
        return "proxy_header";
    case RefuseReason::shutdown:
        return "shutdown";
    case RefuseReason::count_:
        break;
    }
    RINGMX_ASSERT_STATE(false, "reason %u", static_cast<unsigned>(reason));
    return {};
}

std::string_view name_of(RecipientReason reason) {
    switch (reason) {
    case RecipientReason::no_route:
        return "no_route";
    case RecipientReason::unknown_recipient:
        return "unknown_recipient";
    case RecipientReason::syntax:
        return "syntax";
    case RecipientReason::recipients_limit:
        return "recipients_limit";
    case RecipientReason::other_pool:
        return "other_pool";
    case RecipientReason::size:
        return "size";
    case RecipientReason::rate_limit:
        return "rate_limit";
    case RecipientReason::no_memory:
        return "no_memory";
    case RecipientReason::backend_unavailable:
        return "backend_unavailable";
    case RecipientReason::backend_tempfail:
        return "backend_tempfail";
    case RecipientReason::backend_reject:
        return "backend_reject";
    case RecipientReason::backend_fault:
        return "backend_fault";
    case RecipientReason::count_:
        break;
    }
    RINGMX_ASSERT_STATE(false, "reason %u", static_cast<unsigned>(reason));
    return {};
}

std::string_view name_of(VerificationResult result) {
    switch (result) {
    case VerificationResult::exists:
        return "exists";
    case VerificationResult::unknown:
        return "unknown";
    case VerificationResult::unavailable:
        return "unavailable";
    case VerificationResult::count_:
        break;
    }
    return "";
}

std::string_view name_of(ReportKind kind) {
    switch (kind) {
    case ReportKind::failed:
        return "failed";
    case ReportKind::relayed:
        return "relayed";
    case ReportKind::count_:
        break;
    }
    return "";
}

std::string_view name_of(ForwardFailure failure) {
    switch (failure) {
    case ForwardFailure::resolve:
        return "resolve";
    case ForwardFailure::connect_refused:
        return "connect_refused";
    case ForwardFailure::connect_timeout:
        return "connect_timeout";
    case ForwardFailure::no_backend:
        return "no_backend";
    case ForwardFailure::wait_timeout:
        return "wait_timeout";
    case ForwardFailure::greeting:
        return "greeting";
    case ForwardFailure::hello:
        return "hello";
    case ForwardFailure::dropped:
        return "dropped";
    case ForwardFailure::unavailable:
        return "unavailable";
    case ForwardFailure::reply_timeout:
        return "reply_timeout";
    case ForwardFailure::malformed_reply:
        return "malformed_reply";
    case ForwardFailure::tempfail:
        return "tempfail";
    case ForwardFailure::reject:
        return "reject";
    case ForwardFailure::our_fault:
        return "our_fault";
    case ForwardFailure::possible_duplicate:
        return "possible_duplicate";
    case ForwardFailure::count_:
        break;
    }
    RINGMX_ASSERT_STATE(false, "failure %u", static_cast<unsigned>(failure));
    return {};
}

std::optional<std::size_t> stalled_worker(std::span<const WorkerCounters* const> workers,
                                          Instant now, Duration age_max) {
    for (std::size_t index = 0; index < workers.size(); ++index) {
        if (now - workers[index]->heartbeat() > age_max) {
            return index;
        }
    }
    return std::nullopt;
}

void BackendRegistry::begin_config() {
    for (BackendRow& row : rows_) {
        row.configured = false;
    }
    for (PoolRow& row : pool_rows_) {
        row.configured = false;
    }
}

PoolRow& BackendRegistry::pool_row(std::string_view pool) {
    const auto known = std::ranges::find(pool_rows_, pool, &PoolRow::pool);
    PoolRow& row =
        known != pool_rows_.end() ? *known : pool_rows_.emplace_back(pool, workers_count_);
    row.configured = true;
    return row;
}

BackendRow& BackendRegistry::row(std::string_view pool, std::string_view backend) {
    for (BackendRow& row : rows_) { // configs have few backends, and this runs once a config
        if (row.pool == pool && row.backend == backend) {
            row.configured = true;
            return row;
        }
    }
    BackendRow& row = rows_.emplace_back(pool, backend, workers_count_);
    row.configured = true;
    return row;
}

} // namespace ringmx::observe
