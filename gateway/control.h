// The main thread's loop: signals, admin HTTP, backend names and probes, reloads, the workers'
// beginning and end.
//
//   starting ─▶ serving ─▶ delaying (drain_delay) ─▶ draining (drain) ─▶ cutting
//
// Starting lasts until every backend name is answered, starting_max at most. SIGHUP reloads: the
// files are read on a thread of their own while everything goes on under the old configuration.
// SIGTERM and SIGINT drain, the second one ends the process at once.
// Thread: main's.
// Errors: create() with Error; run() gives the exit status.
#pragma once

#include "admin/admin_server.h"
#include "backend_names.h"
#include "base/shared_counters.h"
#include "configuration.h"
#include "desks.h"
#include "observe/log_writer.h"
#include "reload_thread.h"
#include "ring/uring_port.h"
#include "run_spool.h"
#include "startup.h"
#include "worker/prober.h"
#include "worker_thread.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx {

inline constexpr std::string_view version = RINGMX_VERSION;

class Control {
  public:
    static constexpr Duration starting_max = 5s;      // for names; connections wait in the backlog
    static constexpr Duration watch_interval = 250ms; // of backends going up and down
    static constexpr Duration heartbeat_age_max = 5s;
    static constexpr Duration cut_max = 10s;     // a worker that doesn't end by then is stuck
    static constexpr Duration farewell_max = 1s; // for answers of the admin server under way
    static constexpr std::size_t faults_logged_max = 100;      // `check` shows all
    static constexpr std::size_t memory_bytes_max = 4U << 20U; // of the admin server and the probes

    // Everything but the sockets and the signals, which the caller has opened already.
    [[nodiscard]] static Expected<std::unique_ptr<Control>>
    create(std::string config_path, Configuration configuration, BoundSockets sockets,
           int signal_descriptor, observe::LogWriter& log_writer);
    ~Control();

    [[nodiscard]] int run();

  private:
    enum class Phase : std::uint8_t { starting, serving, delaying, draining, cutting };

    Control(std::string config_path, Configuration configuration, BoundSockets sockets,
            std::unique_ptr<RunSpool> spool, int signal_descriptor, observe::LogWriter& log_writer,
            std::unique_ptr<ring::UringPort> port, std::unique_ptr<upstream::Resolver> resolver,
            std::vector<std::unique_ptr<ring::UringPort>> worker_ports);

    void turn(Instant until);
    void dispatch(const ring::Completion& completion);
    [[nodiscard]] Instant next_deadline();
    void advance_phase();
    void start_workers();
    void watch_backends();
    void run_spool();
    void watch_spool();
    [[nodiscard]] Desks::Options desk_options();
    void tell(const upstream::Resolver::News& news);
    void forget_old_snapshots();

    void poll_signals();
    void read_signals();
    void take_signal(unsigned number);
    void begin_drain(std::string_view cause);
    void reload();
    void finish_reload(ReloadThread::Result fresh);
    void refuse(const std::vector<config::Fault>& faults);
    void use_snapshot(); // builds one of what is configured and known, and gives it to everyone
    void post_all(worker::Inbox::Kind kind);
    [[nodiscard]] bool all_finished() const;
    void farewell();

    [[nodiscard]] admin::Pages pages();
    [[nodiscard]] std::optional<admin::HttpResponse> workers_absent() const;
    [[nodiscard]] std::string unhealthy(Instant now) const;
    [[nodiscard]] std::string unready() const;
    // Of what earlier runs left; nothing: it is in the queue.
    [[nodiscard]] std::optional<std::uint64_t> unread_bytes() const;
    void append_metrics(std::string& out) const;
    void append_status(std::string& out) const;
    [[nodiscard]] bool is_up(const observe::BackendRow& row) const;

    void log(observe::LogEvent event, std::string_view detail);
    void notice(LogLevel level, std::string_view detail);

    std::string config_path_;
    Configuration configuration_;
    BoundSockets sockets_;
    int signal_descriptor_;
    observe::LogWriter& log_writer_;
    observe::Log& log_;
    std::unique_ptr<ring::UringPort> port_;
    BufferPool pool_;
    ring::Loop loop_;
    ring::ReceiveBuffers receive_buffers_;
    worker::Lasting lasting_;
    ReloadThread reload_thread_;
    bool reload_again_ = false; // SIGHUP came while one was being read
    SharedCounters shares_;
    BackendNames names_;
    worker::Prober prober_;
    std::shared_ptr<const worker::Snapshot> snapshot_;
    std::vector<std::shared_ptr<const worker::Snapshot>> old_snapshots_; // that somebody still uses
    std::vector<ring::Waker*> wakers_;
    std::vector<std::unique_ptr<WorkerThread>> workers_;
    std::vector<const observe::WorkerCounters*> counters_;
    admin::AdminServer admin_;
    std::vector<ring::Operation> admin_operations_;
    std::unique_ptr<RunSpool> spool_; // null: no listener needs it
    std::string spool_want_;          // why it takes no mail, as it was last told
    Desks desks_;
    std::map<std::uint32_t, bool> was_up_; // by BackendState::id()
    Instant phase_deadline_;
    Instant watch_at_;
    WallTime started_at_;
    std::uint64_t reloads_total_ = 0;
    std::uint64_t reload_failures_total_ = 0;
    Phase phase_ = Phase::starting;
};

} // namespace ringmx
