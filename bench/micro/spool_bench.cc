// A whole worker takes messages into the spool, everything around it being instant: what its own code
// and the log's take for a message of 4 KiB that is durable and waits, its pool being held.
//
// An iteration is one message of each client, in lock-step: with one client each turn has one thing
// to do and each commit one message, with 20 they share both.
#include "instant_port.h"

#include "observe/log_writer.h"
#include "worker/worker.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace ringmx::bench {
namespace {

constexpr std::uint64_t segment_bytes = 256UL << 20U;
constexpr std::uint32_t segments_max = 64;
constexpr int log_rounds = 16; // the log is written after so many

class InstantSupply final : public worker::SegmentSupply {
  public:
    void request(Urgency /*urgency*/) override {
        news_.push_back({.kind = News::Kind::segment,
                         .descriptor = next_++,
                         .size_bytes = segment_bytes,
                         .is_written = true});
    }
    void discard(int descriptor, bool /*is_damaged*/) override {
        news_.push_back({.kind = News::Kind::discarded, .descriptor = descriptor});
    }
    void released() override {}
    [[nodiscard]] bool take(News& news) override {
        if (news_.empty()) {
            return false;
        }
        news = news_.front();
        news_.pop_front();
        return true;
    }

  private:
    std::deque<News> news_;
    int next_ = 10'000;
};

Settings settings_of_a_held_pool() {
    Settings settings;
    settings.hostname = "mx.example";
    ListenerSettings listener;
    listener.address = SocketAddress::parse("192.0.2.1:25").value();
    listener.acknowledge = Acknowledge::spool;
    settings.listeners = {listener};
    BackendSettings backend;
    backend.address = "192.0.2.9:25";
    backend.host = "192.0.2.9";
    backend.port = 25;
    PoolSettings pool;
    pool.name = "held";
    pool.hold = true;
    pool.backends = {backend};
    settings.pools = {pool};
    RouteSettings route;
    route.recipients = {"*"};
    settings.routes = {route};
    settings.limits.connections_per_client = 0;
    settings.limits.connection_rate_per_client = {0, 1s};
    settings.limits.message_rate_per_client = {0, 1s};
    settings.log.level = LogLevel::info;
    return settings;
}

std::string mail(std::size_t bytes) {
    std::string made = "Message-ID: <1.1@client.example>\r\nFrom: <a@client.example>\r\n\r\n";
    while (made.size() < bytes) {
        made += "What is written here is read by nobody, and is as long as a line of mail is.\r\n";
    }
    return made + ".\r\n";
}

class Scene {
  public:
    explicit Scene(std::size_t clients)
        : settings_(std::make_shared<const Settings>(settings_of_a_held_pool())),
          port_(clients, {"EHLO client.example\r\n"},
                {"MAIL FROM:<a@client.example> SIZE=4096\r\n", "RCPT TO:<user@example.com>\r\n",
                 "DATA\r\n", mail(4096)}),
          null_(::open("/dev/null", O_WRONLY | O_CLOEXEC)), log_(settings_->log, null_, 1),
          lasting_(1, 1024, 1), shares_(1024), wakers_{&port_.waker()} {
        worker::LiteralAddresses addresses;
        worker::Worker::Options options;
        options.memory_bytes_max = 256UL << 20U;
        options.clients_max = 1024;
        options.listeners = {{InstantPort::listener, 0}};
        options.snapshot = worker::build_snapshot(
            settings_,
            std::make_shared<const policy::Routes>(policy::Routes::build(*settings_).value()),
            lasting_, addresses);
        options.port = &port_;
        options.counters = &counters_;
        options.log = &log_.add_log();
        options.shares = &shares_;
        options.wakers = wakers_;
        options.spool = {.supply = &supply_,
                         .generation = 1,
                         .segment_bytes = segment_bytes,
                         .segments_max = segments_max,
                         .held_segments_max = 0,
                         .make_nonce = [] { return spool::Nonce{}; }};
        worker_ = std::make_unique<worker::Worker>(std::move(options));
        worker_->start();
        port_.connect();
        play();
        round();
    }
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;
    ~Scene() {
        (void)worker_->post({.kind = worker::Inbox::Kind::cut});
        while (!worker_->finished()) {
            worker_->turn();
        }
        worker_.reset();
        ::close(null_);
    }

    void round() {
        port_.begin_round();
        play();
        if (++rounds_ % log_rounds == 0) {
            log_.flush();
        }
    }
    [[nodiscard]] std::int64_t accepted() const {
        return static_cast<std::int64_t>(counters_.messages_accepted_total.value());
    }

  private:
    void play() {
        while (!port_.is_round_over()) {
            worker_->turn();
        }
    }

    std::shared_ptr<const Settings> settings_;
    InstantPort port_;
    InstantSupply supply_;
    int null_;
    observe::LogWriter log_;
    worker::Lasting lasting_;
    SharedCounters shares_;
    std::vector<ring::Waker*> wakers_;
    observe::WorkerCounters counters_;
    std::unique_ptr<worker::Worker> worker_;
    int rounds_ = 0;
};

void accept(benchmark::State& state) {
    const auto clients = static_cast<std::size_t>(state.range(0));
    Scene scene(clients);
    const std::int64_t before = scene.accepted();
    for ([[maybe_unused]] auto _ : state) {
        scene.round();
    }
    if (scene.accepted() - before != state.iterations() * state.range(0)) {
        state.SkipWithError("not every message was accepted");
    }
    state.SetItemsProcessed(scene.accepted() - before);
}
BENCHMARK(accept)->Arg(1)->Arg(20);

} // namespace
} // namespace ringmx::bench
