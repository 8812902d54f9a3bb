#include "sim/world.h"

#include "sim/world_backend.h"
#include "sim/world_intruder.h"
#include "sim/world_sender.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

namespace ringmx::sim {
namespace {

// In peace the last client that behaves is done by then: longer than any wait of theirs and ours.
constexpr Duration peace_time = 4h;
constexpr const char* pool_names[] = {"one", "two"};

template <typename Reason> std::uint64_t sum_of(const observe::CountersBy<Reason>& counters) {
    std::uint64_t sum = 0;
    for (std::size_t index = 0; index < counters.size; ++index) {
        sum += counters[static_cast<Reason>(index)].value();
    }
    return sum;
}

// What the seed decides before anything runs.
struct Plan {
    explicit Plan(std::uint64_t seed) : choice(seed) {
        network = Options::hostile(seed);
        network.tiny_segments = choice.chance(0.2) ? 0.1 : 0; // each takes many turns
        network.short_sends = 0.1;
        network.incremental_buffers = choice.chance(0.7);
        network.provided_buffers_max = static_cast<std::size_t>(choice.between(2, 16));
        has_faults = choice.chance(0.7);
        little_memory = choice.chance(0.3);
        workers = static_cast<std::uint32_t>(choice.between(1, 3));
        senders = static_cast<std::size_t>(little_memory ? choice.between(20, 60)
                                                         : choice.between(5, 25));
        intruders = choice.chance(0.2) ? 0 : static_cast<std::size_t>(choice.between(3, 20));
        trouble_time = std::chrono::seconds(choice.between(20, 400));
        lasting_trouble = choice.chance(0.3);
        lmtp = {choice.chance(0.3), choice.chance(0.4)};
    }

    // While there is trouble.
    void add_faults(Options& options) {
        if (!has_faults) {
            return;
        }
        options.reset = choice.chance(0.5) ? 0.002 : 0;
        options.swallow = choice.chance(0.5) ? 0.001 : 0;
        options.slow = choice.chance(0.5) ? 0.005 : 0;
        options.clock_jump = choice.chance(0.3) ? 0.0005 : 0;
    }

    Random choice;
    Options network;
    bool has_faults = false;
    bool little_memory = false;
    std::uint32_t workers = 1;
    std::size_t senders = 0;
    std::size_t intruders = 0;
    Duration trouble_time{0};
    bool lasting_trouble = false; // one backend never recovers
    std::array<bool, 2> lmtp{};
};

// What a reload may change too.
void choose_settings(Settings& settings, Plan& plan) {
    Random& choice = plan.choice;
    for (PoolSettings& pool : settings.pools) {
        pool.hash = static_cast<HashKey>(choice.below(5));
        pool.failover = plan.lasting_trouble || choice.chance(0.7) ? Failover::any : Failover::none;
        pool.max_connections = static_cast<std::uint32_t>(choice.between(1, 20));
        pool.messages_per_connection = static_cast<std::uint32_t>(choice.between(1, 20));
        pool.rejections_per_connection = static_cast<std::uint32_t>(choice.between(1, 10));
        pool.idle_timeout = std::chrono::seconds(choice.between(0, 40));
        pool.health.failures =
            static_cast<std::uint32_t>(choice.chance(0.5) ? 1000 : choice.between(1, 4));
    }
    TimeoutSettings& timeouts = settings.timeouts;
    timeouts.backend_hold = std::chrono::seconds(choice.chance(0.5) ? choice.between(1, 10) : 0);
    timeouts.backend_wait = std::chrono::seconds(choice.between(1, 10));
    timeouts.backend_connect = std::chrono::seconds(choice.between(1, 10));
    timeouts.backend_reply = std::chrono::seconds(choice.between(10, 60));
    timeouts.backend_end_of_data = std::chrono::seconds(choice.between(20, 90));
    timeouts.command = std::chrono::seconds(choice.between(60, 300));
    timeouts.data = std::chrono::seconds(choice.between(60, 180));
    timeouts.greeting_delay = std::chrono::seconds(choice.chance(0.3) ? choice.between(1, 5) : 0);
    settings.limits.recipients = choice.chance(0.3) ? 3 : 1000;
}

RigOptions options_of(Plan& plan, World& world) {
    RigOptions options;
    options.network = plan.network;
    options.workers = plan.workers;
    options.memory_bytes_max = plan.little_memory ? 4UL << 20U : 32UL << 20U;
    options.posted_buffers = plan.choice.chance(0.5) ? 0 : plan.choice.between(2, 16);
    options.settings = [&](Settings& settings) {
        for (std::size_t index = 0; index < plan.lmtp.size(); ++index) {
            settings.pools[index].protocol = plan.lmtp[index] ? Protocol::lmtp : Protocol::smtp;
        }
        if (plan.choice.chance(0.5)) {
            settings.limits.exempt = {Network::parse("0.0.0.0/0").value()};
        }
        settings.limits.message_size_bytes = plan.choice.chance(0.3) ? 800'000 : 50UL << 20U;
        settings.limits.minimum_data_rate_bytes = plan.choice.chance(0.5) ? 0 : 100;
        settings.limits.errors_per_connection = 5;
        settings.smtp.bare_newline =
            plan.choice.chance(0.3) ? BareNewline::normalize : BareNewline::reject;
        choose_settings(settings, plan);
        world.size_max = settings.limits.message_size_bytes;
        world.normalizes = settings.smtp.bare_newline == BareNewline::normalize;
    };
    return options;
}

class Life {
  public:
    Life(World& world, Plan& plan) : world_(world), plan_(plan) {}

    void run() {
        plan_.add_faults(rig().network.options());
        rig().network.schedule(plan_.trouble_time, [this] { make_peace(); });
        reload_later();
        (void)rig().run_until([this] { return is_over(); }, plan_.trouble_time + peace_time);
    }

    std::vector<std::unique_ptr<WorldClient>> clients;
    std::size_t critical_turns = 0;

    // What holds after every turn.
    [[nodiscard]] bool turn_is_good() {
        for (const std::unique_ptr<RigWorker>& one : rig().workers) {
            const BufferPool& pool = one->worker->pool();
            critical_turns += one->worker->pressure() == worker::Pressure::critical ? 1U : 0U;
            expect(pool.bytes_in_use() <= pool.bytes_max(), "memory in use is over its bound");
            expect(pool.bytes_resident() <= pool.bytes_max(), "resident memory is over its bound");
            expect(one->counters.connections_open.value() ==
                       static_cast<std::int64_t>(one->worker->clients().used()),
                   "connections_open is off");
        }
        expect(forwarded() == accepted(), "accepted messages are not those that were forwarded");
        expect(world_.ledger.told_taken() <= accepted() && accepted() <= world_.ledger.taken(),
               "accepted messages are not between those told and those taken");
        return world_.ledger.faults().empty();
    }

    // What holds when all is over.
    void expect_sums() {
        std::uint64_t messages = 0;
        std::uint64_t recipients = 0;
        std::int64_t open = 0;
        for (const std::unique_ptr<RigWorker>& one : rig().workers) {
            const observe::WorkerCounters& counters = one->counters;
            messages +=
                counters.messages_accepted_total.value() + sum_of(counters.messages_rejected);
            recipients += counters.recipients_accepted_total.value();
        }
        for (const observe::BackendRow& row : rig().lasting->counters.rows()) {
            for (const observe::BackendCounters& counters : row.workers) {
                open += counters.connections_open.value();
            }
        }
        EXPECT_EQ(open, 0) << "connections to backends";
        EXPECT_LE(world_.mails_answered, messages) << "MAIL commands that became nothing";
        EXPECT_LE(messages, world_.mails_sent) << "messages that nobody sent";
        EXPECT_LE(world_.ledger.told_recipients(), recipients);
        EXPECT_LE(recipients, world_.ledger.recipients_said());
        EXPECT_LE(taken_untold(), possible_duplicates()) << "possible duplicates were not counted";
    }

    [[nodiscard]] std::size_t possible_duplicates() const {
        std::uint64_t sum = 0;
        for (const observe::BackendRow& row : rig().lasting->counters.rows()) {
            for (const observe::BackendCounters& counters : row.workers) {
                sum += counters.failures[observe::ForwardFailure::possible_duplicate].value();
            }
        }
        return sum;
    }

    [[nodiscard]] bool all_are_done() const {
        return world_.in_peace() &&
               std::ranges::all_of(clients, [](const std::unique_ptr<WorldClient>& client) {
                   return client->done();
               });
    }

  private:
    [[nodiscard]] Rig& rig() const { return *world_.rig; }

    // Between two turns.
    [[nodiscard]] bool is_over() {
        if (std::exchange(reload_wanted_, false)) {
            rig().reload([this](Settings& settings) { choose_settings(settings, plan_); });
        }
        return !turn_is_good() || all_are_done();
    }

    void expect(bool holds, const char* what) {
        if (!holds) {
            world_.ledger.fault(what);
        }
    }

    [[nodiscard]] std::uint64_t accepted() const {
        std::uint64_t sum = 0;
        for (const std::unique_ptr<RigWorker>& one : rig().workers) {
            sum += one->counters.messages_accepted_total.value();
        }
        return sum;
    }

    [[nodiscard]] std::uint64_t forwarded() const {
        std::uint64_t sum = 0;
        for (const observe::BackendRow& row : rig().lasting->counters.rows()) {
            for (const observe::BackendCounters& counters : row.workers) {
                sum += counters.messages_forwarded_total.value();
            }
        }
        return sum;
    }

    // Backends took them, and ringmx has not counted them as accepted.
    [[nodiscard]] std::uint64_t taken_untold() const { return world_.ledger.taken() - accepted(); }

    void make_peace() {
        Options& options = rig().network.options();
        options.reset = options.swallow = options.slow = options.clock_jump = 0;
    }

    void reload_later() {
        rig().network.schedule(std::chrono::seconds(plan_.choice.between(1, 120)), [this] {
            if (!world_.in_peace()) {
                reload_wanted_ = true;
                reload_later();
            }
        });
    }

    World& world_;
    Plan& plan_;
    bool reload_wanted_ = false;
};

} // namespace

void run_world(std::uint64_t seed, WorldTally& tally) {
    Plan plan(seed);
    World world;
    // These outlive the rig, whose network calls them.
    std::vector<std::unique_ptr<WorldBackend>> backends;
    Life life(world, plan);
    const RigOptions options = options_of(plan, world);
    Rig rig(options);
    world.rig = &rig;
    world.trouble_ends_at = rig.network.now() + plan.trouble_time;
    const char* const addresses[] = {Rig::first_address, Rig::second_address, Rig::third_address};
    for (std::size_t index = 0; index < std::size(addresses); ++index) {
        BackendProfile profile;
        profile.lmtp = plan.lmtp[index / 2];
        profile.pipelining = plan.choice.chance(0.7);
        profile.chunking = plan.choice.chance(0.5);
        const bool recovers = index != 1 || !plan.lasting_trouble;
        backends.push_back(
            std::make_unique<WorldBackend>(world, rig.backend(addresses[index], profile),
                                           addresses[index], pool_names[index / 2], recovers));
    }
    while (life.clients.size() < plan.senders) {
        life.clients.push_back(std::make_unique<WorldSender>(world, life.clients.size()));
    }
    while (life.clients.size() < plan.senders + plan.intruders) {
        life.clients.push_back(std::make_unique<WorldIntruder>(world, life.clients.size()));
    }
    life.run();
    if (!world.ledger.faults().empty()) {
        ADD_FAILURE() << world.ledger.faults().front();
        return;
    }
    for (const std::unique_ptr<WorldClient>& client : life.clients) {
        EXPECT_TRUE(client->done()) << "never gets done: " << client->describe();
    }
    rig.finish();
    life.expect_sums();
    tally.through += world.through;
    tally.duplicates += life.possible_duplicates();
    tally.critical_turns += life.critical_turns;
    tally.exact += world.mails_answered == world.mails_sent ? 1U : 0U;
}

} // namespace ringmx::sim
