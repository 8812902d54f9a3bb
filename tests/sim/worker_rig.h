// Whole workers on a simulated network, one or several on this thread, with clients that a test
// scripts line by line.
//
//   Rig rig(options);                       one worker, one listener, pools as the test says
//   Client& client = rig.connect();
//   EXPECT_EQ(rig.ask(client, "NOOP\r\n"), "250 2.0.0 Ok\r\n")
//                                           time goes on until a whole reply has come
//
// finish() drains, cuts if that takes too long, and checks that everything has been given back.
// Thread: one.
// Errors: a reply that never comes is "" (or "(closed)" when the connection ended).
#pragma once

#include "sim/sim_disk.h"
#include "sim/sim_port.h"
#include "sim/sim_segment_supply.h"
#include "sim/worker_backend.h"

#include "observe/log_writer.h"
#include "worker/worker.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::sim {

// A client's socket and how far its replies have been looked at.
struct Client {
    SimSocket* socket = nullptr;
    std::string unread;

    // The next whole reply, all its lines; empty while there is none.
    [[nodiscard]] std::string take_reply();
};

struct RigOptions {
    Options network;
    std::size_t memory_bytes_max = 32UL << 20U;
    std::size_t posted_buffers = 0;
    std::uint32_t workers = 1;
    bool spool = false; // the listener acknowledges from the spool
    SimSegments::Options segments = {};
    std::uint32_t segments_max = 8; // of each worker
    std::uint32_t held_segments_max = 0;
    std::function<void(Settings&)> settings = [](Settings&) {};
    // Of a backend, by what the settings call it; the others have the one that they are named by.
    std::map<std::string, std::vector<SocketAddress>> addresses;
};

// One worker and what is its own.
struct RigWorker {
    explicit RigWorker(SimNetwork& network) : port(network) {}

    SimPort port;
    observe::WorkerCounters counters;
    std::unique_ptr<worker::Worker> worker;
};

class Rig {
  public:
    explicit Rig(const RigOptions& options = {});
    ~Rig();
    Rig(const Rig&) = delete;
    Rig& operator=(const Rig&) = delete;

    // Backends of the pool "one" in the default settings are at these addresses.
    static constexpr const char* first_address = "10.1.0.1:25";
    static constexpr const char* second_address = "10.1.0.2:25";
    static constexpr const char* third_address = "10.1.0.3:25";

    Client& connect(const char* from = "192.0.2.7");
    void send(Client& client, std::string_view octets) { client.socket->write(octets); }
    std::string reply(Client& client); // the next one, as time goes on
    std::string ask(Client& client, std::string_view octets) {
        send(client, octets);
        return reply(client);
    }
    // Greeting and EHLO are over.
    Client& greeted(const char* from = "192.0.2.7");
    // And MAIL and one RCPT are answered 250.
    Client& with_recipient(std::string_view recipient = "<user@one.example>");

    bool run_until(const std::function<bool()>& done, Duration time_max = 20min);
    void run_for(Duration time);
    // Each worker that has not finished, once.
    void turn();
    [[nodiscard]] bool finished() const;
    // New settings, as a reload brings them.
    void reload(const std::function<void(Settings&)>& change);
    void post(worker::Inbox::Kind kind);
    // With a spool: the process is killed, or the machine stops (writes under way are torn), and
    // a new one starts, with what the disk has and `change`d settings. The backends stay. Clients
    // are gone.
    void restart(
        std::uint32_t workers_count, bool machine_stops,
        const std::function<void(Settings&)>& change = [](Settings&) {});
    // Messages in the queues of all workers.
    [[nodiscard]] std::int64_t queued() const;
    // Drains (and cuts after `patience`), then checks that nothing is left.
    void finish(Duration patience = 30s);

    // Lives as long as the rig. Its violations fail finish().
    ScriptedBackend& backend(const std::string& address, BackendProfile profile = {});

    [[nodiscard]] const Settings& settings() const { return settings_; }
    // Every line that was logged so far, of settings' log.level at the start.
    [[nodiscard]] std::string log_text();

    SimNetwork network;
    SimDisk disk;
    SimSegments segments;
    std::unique_ptr<worker::Lasting> lasting;
    std::vector<std::unique_ptr<RigWorker>> workers;
    // The first worker's: most tests have no other.
    SimPort& port;
    std::unique_ptr<worker::Worker>& worker;
    observe::WorkerCounters& counters;

  private:
    [[nodiscard]] std::shared_ptr<const worker::Snapshot> snapshot();
    [[nodiscard]] spool::Nonce make_nonce();
    void start_all(std::uint32_t count);
    void start(std::uint32_t index);
    void expect_nothing_left(RigWorker& one);

    RigOptions options_;
    Settings settings_;
    std::map<std::string, std::vector<SocketAddress>> addresses_;
    int log_descriptor_; // a file in memory
    std::unique_ptr<observe::LogWriter> log_writer_;
    std::unique_ptr<SharedCounters> shares_;
    std::uint64_t nonces_ = 0;
    std::vector<ring::Waker*> wakers_;
    std::vector<std::unique_ptr<Client>> clients_;
    std::vector<std::unique_ptr<ScriptedBackend>> backends_;
};

} // namespace ringmx::sim
