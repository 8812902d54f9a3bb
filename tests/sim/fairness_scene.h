// A long backlog of mail for a backend that is slow, and younger mail for others, all due at one
// instant.
//
// Thread: one.
// Errors: failures of the test that calls.
#pragma once

#include "sim/queue_scene.h"
#include "sim/spool_scenes.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace ringmx::sim {

inline constexpr int backlog = 200;
inline constexpr Duration slow_reply = 60s;
inline constexpr auto read_at_once = worker::MailQueue::disk_dispatches_max;

class FairnessScene : public QueueScene {
  protected:
    using QueueScene::QueueScene;

    static Judged later(const Asked& asked) {
        return {.text = asked.command.starts_with("RCPT") ? "450 4.2.0 later\r\n" : asked.ordinary};
    }
    static bool is_content(const Asked& asked) {
        return asked.command == "." || asked.command == "chunk";
    }
    static Judged slowly(const Asked& asked) {
        return {.text = asked.ordinary, .after = is_content(asked) ? slow_reply : Duration{}};
    }
    // Takes no mail yet.
    ScriptedBackend& deferring(const char* address) {
        ScriptedBackend& backend = rig.backend(address);
        backend.judge = later;
        return backend;
    }
    static std::string content(int number) {
        return "Number: " + std::to_string(number) + "\r\n\r\nx\r\n";
    }
    static int number_in(const std::string& octets) {
        return std::stoi(octets.substr(octets.find("Number: ") + 8));
    }
    std::uint64_t send_numbered(int number_sent, std::string_view to) {
        return send("<a@far.example>", to, content(number_sent));
    }
    static std::vector<int> numbers_taken(const ScriptedBackend& backend) {
        std::vector<int> numbers;
        for (const std::string& octets : sim::taken(backend)) {
            numbers.push_back(number_in(octets));
        }
        return numbers;
    }
    Ids send_backlog(std::string_view to) {
        Ids ids;
        for (int sent = 0; sent < backlog; ++sent) {
            ids.push_back(send_numbered(sent, to));
        }
        return ids;
    }
    // Each once, and none much before an older one.
    static void expect_in_order(const ScriptedBackend& backend) {
        std::vector<int> numbers = numbers_taken(backend);
        ASSERT_EQ(numbers.size(), static_cast<std::size_t>(backlog));
        for (int place = 0; place < backlog; ++place) {
            EXPECT_LE(std::abs(numbers[static_cast<std::size_t>(place)] - place),
                      static_cast<int>(read_at_once));
        }
        std::ranges::sort(numbers);
        EXPECT_EQ(std::ranges::adjacent_find(numbers), numbers.end());
    }
    // Everything is due now, by an operator's word, or since the gateway starts again.
    void make_all_due(bool by_restart) {
        if (by_restart) {
            rig.restart(1, false);
        } else {
            EXPECT_GT(ask({.kind = Kind::retry_all}).changed, 0U);
        }
    }
    [[nodiscard]] std::uint64_t count(QueueState state) const {
        return rig.worker->queue()->index().sum(state).messages;
    }
    // All is due; the other takes its three messages at once, while the slow one has only begun.
    std::uint64_t reads_until_others_have_theirs(ScriptedBackend& slow, ScriptedBackend& other,
                                                 bool by_restart) {
        rig.run_for(10s);
        slow.judge = slowly;
        other.judge = nullptr;
        const std::uint64_t before = rig.disk.reads;
        make_all_due(by_restart);
        EXPECT_TRUE(rig.run_until([&] { return taken(other) == 3; }, 5s));
        rig.run_for(1s);
        return rig.disk.reads - before;
    }
    // The one that waits for a connection in vain, each time.
    void expect_that_few_are_read_again() {
        rig.run_for(rig.settings().timeouts.backend_wait);
        EXPECT_EQ(count(QueueState::active) + count(QueueState::due) + count(QueueState::parked),
                  static_cast<std::uint64_t>(backlog));
        const auto tries = static_cast<std::uint64_t>(1min / rig.settings().timeouts.backend_wait);
        const std::uint64_t reads = rig.disk.reads;
        EXPECT_LT(turns_in(1min), 1000U);
        EXPECT_LT(rig.disk.reads - reads, 2 * tries);
    }
    // That the worker makes meanwhile.
    std::uint64_t turns_in(Duration time) {
        const Instant end = rig.network.now() + time;
        std::uint64_t turns = 0;
        while (rig.network.now() < end) {
            rig.turn();
            ++turns;
            parked_max = std::max(parked_max, count(QueueState::parked));
        }
        return turns;
    }

    std::uint64_t parked_max = 0; // after any of these turns
};

} // namespace ringmx::sim
