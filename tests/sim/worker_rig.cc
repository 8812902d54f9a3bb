#include "sim/worker_rig.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace ringmx::sim {
namespace {

const char* const listening_at = "10.0.0.1:25";

BackendSettings backend_at(const std::string& address) {
    const SocketAddress parsed = SocketAddress::parse(address).value();
    BackendSettings backend;
    backend.address = address;
    backend.host = parsed.ip.text();
    backend.port = parsed.port;
    return backend;
}

// Pool 0 "one" has two backends, pool 1 "two" has the third.
Settings ordinary_settings() {
    Settings settings;
    settings.hostname = "mx.example";
    ListenerSettings listener;
    listener.address = SocketAddress::parse(listening_at).value();
    listener.acknowledge = Acknowledge::backend;
    settings.listeners = {listener};
    PoolSettings one;
    one.name = "one";
    one.backends = {backend_at(Rig::first_address), backend_at(Rig::second_address)};
    PoolSettings two;
    two.name = "two";
    two.backends = {backend_at(Rig::third_address)};
    settings.pools = {one, two};
    RouteSettings first;
    first.recipients = {"one.example"};
    RouteSettings second;
    second.recipients = {"two.example"};
    second.pool_index = 1;
    settings.routes = {first, second};
    settings.limits.connections_per_client = 0;
    settings.limits.connection_rate_per_client = {0, 1s};
    settings.limits.message_rate_per_client = {0, 1s};
    settings.log.level = LogLevel::error;
    return settings;
}

class GivenAddresses final : public worker::Addresses {
  public:
    using Map = std::map<std::string, std::vector<SocketAddress>>;
    explicit GivenAddresses(const Map& given) : given_(given) {}

    [[nodiscard]] std::vector<SocketAddress> of(const BackendSettings& backend) override {
        const auto found = given_.find(backend.address);
        return found != given_.end() ? found->second : worker::LiteralAddresses().of(backend);
    }

  private:
    const Map& given_;
};

std::vector<std::unique_ptr<RigWorker>> make_workers(SimNetwork& network, std::uint32_t count) {
    std::vector<std::unique_ptr<RigWorker>> made;
    while (made.size() < count) {
        made.push_back(std::make_unique<RigWorker>(network));
    }
    return made;
}

} // namespace

std::string Client::take_reply() {
    unread += socket->take();
    std::size_t line = 0;
    while (true) {
        const std::size_t end = unread.find("\r\n", line);
        if (end == std::string::npos) {
            return {};
        }
        if (end - line < 4 || unread[line + 3] != '-') {
            std::string whole = unread.substr(0, end + 2);
            unread.erase(0, end + 2);
            return whole;
        }
        line = end + 2;
    }
}

Rig::Rig(const RigOptions& options)
    : network(options.network), disk(options.network.seed),
      segments(network, disk, options.segments), workers(make_workers(network, options.workers)),
      port(workers[0]->port), worker(workers[0]->worker), counters(workers[0]->counters),
      options_(options), settings_(ordinary_settings()), addresses_(options.addresses),
      log_descriptor_(::memfd_create("log", MFD_CLOEXEC)) {
    if (options.spool) {
        settings_.listeners[0].acknowledge = Acknowledge::spool;
    }
    options.settings(settings_);
    log_writer_ = std::make_unique<observe::LogWriter>(settings_.log, log_descriptor_, 1);
    start_all(options.workers);
}

void Rig::start_all(std::uint32_t count) {
    lasting = std::make_unique<worker::Lasting>(count, settings_.limits.connections, 1);
    shares_ = std::make_unique<SharedCounters>(1024);
    wakers_.clear();
    for (const std::unique_ptr<RigWorker>& one : workers) {
        wakers_.push_back(&one->port.waker());
        one->port.attach(disk);
    }
    if (options_.spool) {
        segments.begin_run(wakers_);
    }
    for (std::uint32_t index = 0; index < count; ++index) {
        start(index);
    }
}

void Rig::start(std::uint32_t index) {
    RigWorker& one = *workers[index];
    worker::Worker::Options made;
    made.index = index;
    made.memory_bytes_max = options_.memory_bytes_max;
    made.clients_max = 10000;
    made.listeners = {{one.port.listen(settings_.listeners[0].address), 0}};
    made.snapshot = index == 0 ? snapshot() : worker->snapshot();
    made.port = &one.port;
    made.counters = &one.counters;
    made.log = &log_writer_->add_log(settings_.log.level == LogLevel::error ? 16 : 4096);
    made.shares = shares_.get();
    made.wakers = wakers_;
    made.seed = options_.network.seed + index;
    made.posted_buffers = options_.posted_buffers;
    if (options_.spool) {
        made.spool = {.supply = &segments.supply(index),
                      .generation = segments.generation(),
                      .segment_bytes = options_.segments.segment_bytes,
                      .segments_max = options_.segments_max,
                      .held_segments_max = options_.held_segments_max,
                      .make_nonce = [this] { return make_nonce(); }};
    }
    one.worker = std::make_unique<worker::Worker>(std::move(made));
    one.worker->start();
}

spool::Nonce Rig::make_nonce() {
    spool::Nonce nonce{};
    ++nonces_;
    std::memcpy(nonce.data(), &nonces_, sizeof nonces_);
    return nonce;
}

void Rig::restart(std::uint32_t workers_count, bool machine_stops,
                  const std::function<void(Settings&)>& change) {
    if (!machine_stops) {
        // What the kernel has it will write, whoever is gone.
        (void)run_until([this] { return disk.under_way() == 0; }, 1min);
    }
    disk.go_away();
    post(worker::Inbox::Kind::cut);
    EXPECT_TRUE(run_until([this] { return finished(); }, 1min));
    disk.come_back();
    if (machine_stops) {
        disk.crash();
    }
    for (const std::unique_ptr<RigWorker>& one : workers) {
        one->worker.reset();
    }
    workers.resize(1);
    RigWorker* const first = workers.front().get(); // stays where it is: members refer to it
    std::destroy_at(first);
    std::construct_at(first, network);
    while (workers.size() < workers_count) {
        workers.push_back(std::make_unique<RigWorker>(network));
    }
    change(settings_);
    start_all(workers_count);
    AdoptedQueue& found = segments.recover();
    auto parts = dealt_out(std::move(found.messages), workers_count);
    for (std::uint32_t index = 0; index < workers_count; ++index) {
        EXPECT_TRUE(workers[index]->worker->post({.kind = worker::Inbox::Kind::adopt,
                                                  .messages = std::move(parts[index]),
                                                  .segments = segments.all_adopted()}));
    }
}

std::int64_t Rig::queued() const {
    std::int64_t sum = 0;
    for (const std::unique_ptr<RigWorker>& one : workers) {
        sum += one->counters.queue_messages.value();
    }
    return sum;
}

Rig::~Rig() {
    if (!finished()) {
        post(worker::Inbox::Kind::cut);
        (void)run_until([this] { return finished(); });
    }
    for (const std::unique_ptr<RigWorker>& one : workers) {
        one->worker.reset();
    }
    ::close(log_descriptor_);
}

std::shared_ptr<const worker::Snapshot> Rig::snapshot() {
    auto routes = policy::Routes::build(settings_);
    EXPECT_TRUE(routes.has_value());
    GivenAddresses addresses(addresses_);
    return worker::build_snapshot(std::make_shared<const Settings>(settings_),
                                  std::make_shared<const policy::Routes>(std::move(*routes)),
                                  *lasting, addresses);
}

Client& Rig::connect(const char* from) {
    Client& client = *clients_.emplace_back(std::make_unique<Client>());
    client.socket =
        &network.connect(settings_.listeners[0].address, IpAddress::parse(from).value());
    return client;
}

bool Rig::finished() const {
    return std::ranges::all_of(workers, [](const std::unique_ptr<RigWorker>& one) {
        return one->worker == nullptr || one->worker->finished();
    });
}

// A worker without work sleeps in the kernel: turned all the same, it would look at what others
// hold, wake them, and so be turned again.
void Rig::turn() {
    const bool any_has_work = std::ranges::any_of(
        workers, [](const std::unique_ptr<RigWorker>& one) { return one->port.has_work(); });
    for (const std::unique_ptr<RigWorker>& one : workers) {
        if (!one->worker->finished() && (!any_has_work || one->port.has_work())) {
            one->worker->turn();
            if (one->worker->finished()) {
                one->port.stop();
            }
        }
    }
}

bool Rig::run_until(const std::function<bool()>& done, Duration time_max) {
    const Instant end = network.now() + time_max;
    while (!done()) {
        if (network.now() >= end || finished()) {
            return done();
        }
        turn();
    }
    return true;
}

void Rig::run_for(Duration time) {
    (void)run_until([] { return false; }, time);
}

std::string Rig::reply(Client& client) {
    std::string whole;
    (void)run_until([&] {
        whole = client.take_reply();
        return !whole.empty() || client.socket->gone();
    });
    if (whole.empty()) {
        whole = client.take_reply();
    }
    return whole.empty() && client.socket->gone() ? "(closed)" : whole;
}

Client& Rig::greeted(const char* from) {
    Client& client = connect(from);
    EXPECT_EQ(reply(client), "220 mx.example ESMTP ringmx\r\n");
    EXPECT_TRUE(ask(client, "EHLO client.example\r\n").starts_with("250-mx.example"));
    return client;
}

Client& Rig::with_recipient(std::string_view recipient) {
    Client& client = greeted();
    EXPECT_EQ(ask(client, "MAIL FROM:<sender@far.example>\r\n").substr(0, 9), "250 2.1.0");
    EXPECT_EQ(ask(client, "RCPT TO:" + std::string(recipient) + "\r\n").substr(0, 9), "250 2.1.5");
    return client;
}

std::string Rig::log_text() {
    log_writer_->flush();
    std::string text(static_cast<std::size_t>(::lseek(log_descriptor_, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(log_descriptor_, text.data(), text.size(), 0),
              static_cast<ssize_t>(text.size()));
    return text;
}

void Rig::reload(const std::function<void(Settings&)>& change) {
    change(settings_);
    const std::shared_ptr<const worker::Snapshot> fresh = snapshot();
    for (const std::unique_ptr<RigWorker>& one : workers) {
        EXPECT_TRUE(one->worker->post({.kind = worker::Inbox::Kind::snapshot, .snapshot = fresh}));
    }
    turn();
}

void Rig::post(worker::Inbox::Kind kind) {
    for (const std::unique_ptr<RigWorker>& one : workers) {
        if (!one->worker->finished()) {
            EXPECT_TRUE(one->worker->post({.kind = kind}));
        }
    }
}

void Rig::finish(Duration patience) {
    post(worker::Inbox::Kind::drain);
    if (!run_until([this] { return finished(); }, patience)) {
        post(worker::Inbox::Kind::cut);
        EXPECT_TRUE(run_until([this] { return finished(); }, 1min));
    }
    ASSERT_TRUE(finished());
    for (const std::unique_ptr<RigWorker>& one : workers) {
        expect_nothing_left(*one);
    }
    EXPECT_EQ(lasting->clients.connections_open(), 0U);
    for (const char* address : {first_address, second_address}) {
        EXPECT_EQ(lasting->states.state_of("one", address)->connections_open(), 0U) << address;
    }
    for (const std::unique_ptr<ScriptedBackend>& made : backends_) {
        EXPECT_TRUE(made->violations.empty()) << made->violations.front();
    }
}

void Rig::expect_nothing_left(RigWorker& one) {
    // A cancel may be told after its target's end, which is all that the worker waits for.
    one.port.resume();
    for (int count = 0; count < 100 && one.port.in_flight() != 0; ++count) {
        one.worker->turn();
    }
    one.port.stop();
    BufferPool& pool = one.worker->pool();
    EXPECT_EQ(pool.bytes_in_use(),
              one.worker->receive_buffers().posted() * pool.receive_buffer_bytes());
    EXPECT_EQ(one.worker->receive_buffers().starved(), 0U);
    EXPECT_EQ(one.worker->clients().used(), 0U);
    EXPECT_EQ(one.worker->deliveries().used(), 0U);
    EXPECT_EQ(one.worker->backends().used(), 0U);
    EXPECT_EQ(one.worker->book().waiting_count(), 0U);
    EXPECT_TRUE(one.worker->queue() == nullptr || one.worker->queue()->reserved_bytes() == 0);
    EXPECT_EQ(one.worker->book().idle_count(), 0U);
    EXPECT_EQ(one.port.in_flight(), 0U);
    EXPECT_EQ(one.port.open_descriptors(), 0U);
    EXPECT_EQ(one.counters.connections_open.value(), 0);
}

ScriptedBackend& Rig::backend(const std::string& address, BackendProfile profile) {
    return *backends_.emplace_back(std::make_unique<ScriptedBackend>(network, address, profile));
}

} // namespace ringmx::sim
