#include "control.h"

#include <algorithm>
#include <csignal>
#include <fmt/format.h>
#include <ranges>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace ringmx {

namespace {

constexpr std::uint8_t signals_operation = 1; // beside backend_names.h, prober.h and admin_server.h
constexpr std::size_t worker_memory_bytes_min = 2U << 20U; // below that nothing could be received
constexpr std::uint32_t token_slots_max = (1U << 24U) - 1;

// Descriptors bound the connections of a worker; limits.connections, which a reload may change, is
// judged at accept.
std::uint32_t clients_max() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return token_slots_max;
    }
    return static_cast<std::uint32_t>(std::min<rlim_t>(limit.rlim_cur, token_slots_max));
}

// Sheds clients by 421 before accepting fails: what the admin address, the rings and the backends
// need is kept back, or no mail would go on when clients have taken the last descriptor.
void fit_to_descriptors(Configuration& configuration, std::size_t workers) {
    constexpr std::uint64_t process_descriptors = 32; // admin, signals, rings, names, log
    const std::uint64_t all = clients_max();
    const Settings& wanted = *configuration.settings;
    std::uint64_t upstream = 0;
    for (const PoolSettings& pool : wanted.pools) {
        upstream += pool.backends.size() * (std::uint64_t{pool.max_connections} + 1);
    }
    const std::uint64_t fixed = process_descriptors + workers * (wanted.listeners.size() + 3);
    const std::uint64_t left = std::max(all, fixed + 1) - fixed;
    // Of few, half are the clients'.
    const std::uint64_t fit = left - std::min(left / 4, upstream) -
                              std::min(left / 4, RunSpool::descriptors(wanted, workers));
    if (fit >= wanted.limits.connections) {
        return;
    }
    auto settings = std::make_shared<Settings>(wanted);
    settings->limits.connections = static_cast<std::uint32_t>(fit);
    configuration.settings = std::move(settings);
    configuration.warnings.push_back(fmt::format(
        "/limits/connections: {} now, since {} descriptors (RLIMIT_NOFILE) are enough for no more "
        "clients; raise them, by LimitNOFILE= of systemd or ulimit -n",
        fit, all));
}

std::size_t worker_memory_bytes(const Settings& settings, std::size_t workers) {
    const std::uint64_t all =
        settings.limits.memory_bytes == 0 ? quarter_of_memory() : settings.limits.memory_bytes;
    return std::max<std::size_t>(all / workers, worker_memory_bytes_min);
}

} // namespace

Expected<std::unique_ptr<Control>> Control::create(std::string config_path,
                                                   Configuration configuration,
                                                   BoundSockets sockets, int signal_descriptor,
                                                   observe::LogWriter& log_writer) {
    const Expected<ring::Features> features = ring::probe();
    if (!features) {
        return std::unexpected(features.error());
    }
    fit_to_descriptors(configuration, sockets.workers.size());
    ring::UringPort::Settings ring_settings;
    ring_settings.features = *features;
    std::vector<std::unique_ptr<ring::UringPort>> worker_ports;
    for (std::size_t index = 0; index < sockets.workers.size(); ++index) {
        auto port = ring::UringPort::create(ring_settings);
        if (!port) {
            return std::unexpected(port.error());
        }
        worker_ports.push_back(std::move(*port));
    }
    ring_settings.submissions = 256; // a few probes and scrapes
    ring_settings.completions = 2048;
    auto port = ring::UringPort::create(ring_settings);
    if (!port) {
        return std::unexpected(port.error());
    }
    auto resolver = upstream::Resolver::create({});
    if (!resolver) {
        return std::unexpected(resolver.error());
    }
    // Last: from here on the run has a number, of which there are only so many.
    auto spool =
        RunSpool::open(*configuration.settings, static_cast<std::uint32_t>(sockets.workers.size()));
    if (!spool) {
        return std::unexpected(spool.error());
    }
    return std::unique_ptr<Control>(new Control(std::move(config_path), std::move(configuration),
                                                std::move(sockets), std::move(*spool),
                                                signal_descriptor, log_writer, std::move(*port),
                                                std::move(*resolver), std::move(worker_ports)));
}

Control::Control(std::string config_path, Configuration configuration, BoundSockets sockets,
                 std::unique_ptr<RunSpool> spool, int signal_descriptor,
                 observe::LogWriter& log_writer, std::unique_ptr<ring::UringPort> port,
                 std::unique_ptr<upstream::Resolver> resolver,
                 std::vector<std::unique_ptr<ring::UringPort>> worker_ports)
    : config_path_(std::move(config_path)), configuration_(std::move(configuration)),
      sockets_(std::move(sockets)), signal_descriptor_(signal_descriptor), log_writer_(log_writer),
      log_(log_writer.add_log()), port_(std::move(port)), pool_({.bytes_max = memory_bytes_max}),
      loop_(*port_, pool_), receive_buffers_(pool_, *port_),
      lasting_(worker_ports.size(), configuration_.settings->limits.connections, random_seed()),
      reload_thread_(port_->waker()), shares_(configuration_.settings->limits.connections),
      names_(loop_, std::move(resolver)), prober_(loop_), admin_(*port_, pages()),
      spool_(std::move(spool)), desks_(desk_options()), phase_deadline_(loop_.now() + starting_max),
      watch_at_(loop_.now()), started_at_(port_->wall_time()) {
    for (std::unique_ptr<ring::UringPort>& worker_port : worker_ports) {
        wakers_.push_back(&worker_port->waker());
        workers_.push_back(
            std::make_unique<WorkerThread>(std::move(worker_port), log_writer.add_log()));
        counters_.push_back(&workers_.back()->counters());
    }
    admin_.listen(sockets_.admin, admin::Surface::admin);
    if (sockets_.probe >= 0) {
        admin_.listen(sockets_.probe, admin::Surface::probe);
    }
    names_.use(*configuration_.settings);
}

Control::~Control() {
    // Every worker has left its loop. Who may still wake one ends before their rings do: the keeper
    // of the spool, then all workers at a time.
    if (spool_ != nullptr) {
        spool_->stop();
    }
    for (const std::unique_ptr<WorkerThread>& worker : workers_) {
        worker->release();
    }
    workers_.clear(); // before what they got segments from
}

int Control::run() {
    log(observe::LogEvent::start, fmt::format("ringmx {}", version));
    for (const BoundListener& listener : sockets_.bound) {
        if (auto* record = log_.begin(observe::LogEvent::listening, port_->wall_time())) {
            record->address(listener.address.text()).detail(listener.purpose);
            log_.commit();
        }
    }
    for (const std::string& warning : configuration_.warnings) {
        notice(LogLevel::warning, warning);
    }
    poll_signals();
    advance_phase();
    while (phase_ < Phase::draining || !all_finished()) {
        turn(next_deadline());
        advance_phase();
    }
    log(observe::LogEvent::drain_end, "");
    farewell();
    log(observe::LogEvent::stopped, "");
    return 0;
}

Instant Control::next_deadline() {
    return std::min({watch_at_, phase_deadline_, admin_.next_deadline(), prober_.next_deadline(),
                     names_.next_deadline()});
}

void Control::turn(Instant until) {
    admin_.queue(admin_operations_);
    for (const ring::Operation& operation : admin_operations_) {
        loop_.queue(operation);
    }
    admin_operations_.clear();
    for (const ring::Completion& completion : loop_.turn(until)) {
        dispatch(completion);
    }
    receive_buffers_.refill();
    admin_.run_timers(loop_.now());
    prober_.run_timers();
    for (const upstream::Resolver::News& news : names_.take_news()) {
        tell(news);
    }
    if (names_.run() && phase_ == Phase::serving) {
        use_snapshot();
    }
    if (std::optional<ReloadThread::Result> fresh = reload_thread_.take()) {
        finish_reload(std::move(*fresh));
    }
    for (const std::unique_ptr<WorkerThread>& worker : workers_) {
        worker->deliver_pending();
    }
    desks_.take_answers();
    run_spool();
    if (loop_.now() >= watch_at_) {
        watch_at_ = loop_.now() + watch_interval;
        watch_backends();
        watch_spool();
        forget_old_snapshots();
    }
}

void Control::dispatch(const ring::Completion& completion) {
    Slice octets = receive_buffers_.settle(completion); // before the token is looked at
    const std::uint8_t operation = completion.token.operation;
    if (operation == signals_operation) {
        read_signals();
        poll_signals();
    } else if (operation >= admin::AdminServer::first_operation &&
               operation <= admin::AdminServer::last_operation) {
        admin_.handle(completion, std::move(octets), loop_.now());
    } else if (!names_.handle(completion)) {
        prober_.handle(completion, octets);
    }
}

void Control::advance_phase() {
    const Instant now = loop_.now();
    const TimeoutSettings& timeouts = configuration_.settings->timeouts;
    switch (phase_) {
    case Phase::starting:
        if (names_.all_answered() || now >= phase_deadline_) {
            start_workers();
        }
        break;
    case Phase::serving:
        break;
    case Phase::delaying:
        if (now >= phase_deadline_) {
            post_all(worker::Inbox::Kind::drain);
            phase_ = Phase::draining;
            phase_deadline_ = now + timeouts.drain;
        }
        break;
    case Phase::draining:
        if (now >= phase_deadline_) {
            notice(LogLevel::warning, "timeouts.drain is over: ending the transactions under way");
            post_all(worker::Inbox::Kind::cut);
            phase_ = Phase::cutting;
            phase_deadline_ = now + cut_max;
        }
        break;
    case Phase::cutting:
        if (now >= phase_deadline_) {
            notice(LogLevel::error, "a worker does not end: ending the process");
            log_writer_.stop();
            ::_exit(1);
        }
        break;
    }
}

void Control::start_workers() {
    const Settings& settings = *configuration_.settings;
    use_snapshot();
    if (spool_ != nullptr) {
        spool_->start(wakers_, port_->waker());
    }
    for (std::uint32_t index = 0; index < workers_.size(); ++index) {
        worker::Worker::Options options;
        options.index = index;
        options.memory_bytes_max = worker_memory_bytes(settings, workers_.size());
        options.clients_max = clients_max();
        options.listeners = std::move(sockets_.workers[index]);
        options.snapshot = snapshot_;
        options.shares = &shares_;
        options.wakers = wakers_;
        options.main_waker = &port_->waker();
        options.seed = random_seed();
        if (spool_ != nullptr) {
            options.spool = spool_->options_of(index);
        }
        workers_[index]->start(std::move(options));
    }
    phase_ = Phase::serving;
    phase_deadline_ = never;
    log(observe::LogEvent::ready,
        fmt::format("{} worker{}", workers_.size(), workers_.size() == 1 ? "" : "s"));
}

void Control::run_spool() {
    if (spool_ == nullptr) {
        return;
    }
    if (phase_ < Phase::draining && spool_->is_reading()) {
        std::vector<worker::Inbox> parts = spool_->recovered();
        for (std::size_t index = 0; index < parts.size(); ++index) {
            workers_[index]->post(std::move(parts[index]));
        }
    }
    for (const SpoolNotice& told : spool_->take_notices()) {
        notice(told.level, told.text);
    }
}

// Said once each time.
void Control::watch_spool() {
    if (spool_ == nullptr || phase_ != Phase::serving) {
        return;
    }
    const std::string want = spool_->unready(counters_);
    if (want.empty() && !spool_want_.empty()) {
        notice(LogLevel::info, "the spool takes mail again");
    } else if (!want.empty() && want != spool_want_) {
        notice(LogLevel::error, want + ": mail is refused until that is over; see spool.max_size "
                                       "and the disk");
    }
    spool_want_ = want;
}

Desks::Options Control::desk_options() {
    return {.workers = workers_,
            .workers_count = static_cast<std::uint32_t>(sockets_.workers.size()),
            .spool_generation =
                spool_ == nullptr ? std::nullopt : std::optional(spool_->generation()),
            .run = static_cast<std::uint32_t>(random_seed()),
            .reply =
                [this](admin::Ticket ticket, const admin::HttpResponse& response) {
                    admin_.reply(ticket, response, loop_.now());
                },
            .is_recovering = [this] { return unread_bytes().has_value(); },
            .pools = [this]() -> const std::vector<PoolSettings>& {
                return configuration_.settings->pools;
            },
            .note = [this](std::string_view line) { notice(LogLevel::info, line); }};
}

void Control::use_snapshot() {
    if (snapshot_ != nullptr) {
        old_snapshots_.push_back(std::move(snapshot_));
    }
    snapshot_ =
        worker::build_snapshot(configuration_.settings, configuration_.routes, lasting_, names_);
    prober_.use(snapshot_);
    lasting_.states.forget_unused();
    for (const std::unique_ptr<WorkerThread>& worker : workers_) {
        if (worker->is_started()) {
            worker->post({.kind = worker::Inbox::Kind::snapshot, .snapshot = snapshot_});
        }
    }
}

// Freeing the routes of a million recipients takes a while, which workers don't have: they are never
// the last to let go of a snapshot.
void Control::forget_old_snapshots() {
    std::erase_if(old_snapshots_, [](const auto& old) { return old.use_count() == 1; });
}

void Control::watch_backends() {
    if (snapshot_ == nullptr) {
        return;
    }
    std::map<std::uint32_t, bool> up;
    for (const std::unique_ptr<worker::Pool>& pool : snapshot_->pools) {
        for (const std::shared_ptr<upstream::BackendState>& state : pool->upstream.states) {
            const bool is = state->is_up();
            up.emplace(state->id(), is);
            const auto known = was_up_.find(state->id());
            const bool was = known == was_up_.end() || known->second;
            if (is == was) {
                continue;
            }
            const auto event = is ? observe::LogEvent::backend_up : observe::LogEvent::backend_down;
            if (auto* record = log_.begin(event, port_->wall_time())) {
                record->pool(state->pool()).backend(state->address());
                if (!is) {
                    record->detail(!state->is_resolved()  ? "its name has no address"
                                   : state->comeback_at() ? "connections for mail failed"
                                                          : "probes failed");
                }
                log_.commit();
            }
        }
    }
    was_up_ = std::move(up);
}

void Control::tell(const upstream::Resolver::News& news) {
    if (news.failure.empty()) {
        notice(LogLevel::info, fmt::format("the backend name {} resolves now", news.host));
    } else {
        notice(LogLevel::warning,
               fmt::format("the backend name {} can't be resolved ({}): see DNS and /etc/hosts; {}",
                           news.host, news.failure,
                           news.has_addresses ? "its old addresses stay in use"
                                              : "no mail goes there until it can"));
    }
}

void Control::poll_signals() {
    ring::Operation poll{};
    poll.code = ring::Opcode::poll_in;
    poll.descriptor = signal_descriptor_;
    poll.token = {signals_operation, 0, 0};
    loop_.queue(poll);
}

void Control::read_signals() {
    signalfd_siginfo taken{};
    while (::read(signal_descriptor_, &taken, sizeof taken) == static_cast<ssize_t>(sizeof taken)) {
        take_signal(taken.ssi_signo);
    }
}

void Control::take_signal(unsigned number) {
    if (number == SIGHUP) {
        reload();
    } else if (number == SIGUSR2) {
        notice(LogLevel::warning, "SIGUSR2: hot restart is not built yet; start a new process");
    } else if (phase_ >= Phase::delaying) {
        notice(LogLevel::warning, "a second signal: ending at once");
        log_writer_.stop();
        ::_exit(0);
    } else {
        begin_drain(number == SIGTERM ? "SIGTERM" : "SIGINT");
    }
}

void Control::begin_drain(std::string_view cause) {
    log(observe::LogEvent::drain_begin, cause);
    phase_ = Phase::delaying;
    phase_deadline_ = loop_.now() + configuration_.settings->timeouts.drain_delay;
}

void Control::reload() {
    if (phase_ >= Phase::delaying) {
        notice(LogLevel::warning, "SIGHUP while draining: not reloaded");
        return;
    }
    if (reload_thread_.is_running()) {
        reload_again_ = true; // what is being read may be older than this signal
    } else {
        reload_thread_.start(config_path_);
    }
}

void Control::finish_reload(ReloadThread::Result fresh) {
    if (phase_ >= Phase::delaying) {
        return;
    }
    if (std::exchange(reload_again_, false)) {
        reload_thread_.start(config_path_);
    }
    if (!fresh) {
        return refuse(fresh.error());
    }
    auto settings = std::make_shared<Settings>(*fresh->settings);
    for (const std::string& kept :
         keep_until_restart(*configuration_.settings, *settings, spool_ != nullptr)) {
        notice(LogLevel::warning, kept + ": changes at the next start only, the old value stays");
    }
    fresh->settings = std::move(settings);
    configuration_ = std::move(*fresh);
    fit_to_descriptors(configuration_, workers_.size());
    log_writer_.configure(configuration_.settings->log);
    for (const std::string& warning : configuration_.warnings) {
        notice(LogLevel::warning, warning);
    }
    names_.use(*configuration_.settings);
    if (phase_ == Phase::serving) {
        use_snapshot();
    }
    ++reloads_total_;
    log(observe::LogEvent::reloaded, config_path_);
}

// A record for each, of which the log holds a few thousand.
void Control::refuse(const std::vector<config::Fault>& faults) {
    ++reload_failures_total_;
    for (const config::Fault& fault : faults | std::views::take(faults_logged_max)) {
        log(observe::LogEvent::reload_failed,
            (fault.pointer.empty() ? config_path_ : fault.pointer) + ": " + fault.text);
    }
    if (faults.size() > faults_logged_max) {
        log(observe::LogEvent::reload_failed,
            fmt::format("{}: {} more faults, which ringmx check shows", config_path_,
                        faults.size() - faults_logged_max));
    }
}

void Control::post_all(worker::Inbox::Kind kind) {
    for (const std::unique_ptr<WorkerThread>& worker : workers_) {
        if (worker->is_started()) {
            worker->post({.kind = kind});
        }
    }
}

bool Control::all_finished() const {
    return std::ranges::all_of(workers_, &WorkerThread::finished);
}

void Control::farewell() {
    admin_.stop();
    prober_.stop();
    const Instant until = loop_.now() + farewell_max;
    while (!admin_.is_stopped() || !prober_.is_stopped() || reload_thread_.is_running()) {
        if (loop_.now() >= until) {
            // What is in flight names memory that the destructors would free, and a thread that
            // reads from a disk that doesn't answer would be waited for.
            log(observe::LogEvent::stopped, "");
            log_writer_.stop();
            ::_exit(0);
        }
        turn(std::min(next_deadline(), until));
    }
    ::close(sockets_.admin);
    if (sockets_.probe >= 0) {
        ::close(sockets_.probe);
    }
}

void Control::log(observe::LogEvent event, std::string_view detail) {
    if (auto* record = log_.begin(event, port_->wall_time())) {
        if (!detail.empty()) {
            record->detail(detail);
        }
        log_.commit();
    }
}

void Control::notice(LogLevel level, std::string_view detail) {
    if (auto* record = log_.begin(observe::LogEvent::notice, level, port_->wall_time())) {
        record->detail(detail);
        log_.commit();
    }
}

} // namespace ringmx
