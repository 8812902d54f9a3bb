// Where queued mail goes when it is tried again: by the hash, among the backends that are healthy then.
#include "sim/spool_scenes.h"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <string>

namespace ringmx::sim {
namespace {

constexpr int keys = 60;
constexpr const char* fourth_address = "10.1.0.4:25";

// Pool "one" has three backends.
RigOptions with_three_backends() {
    RigOptions options = spooling();
    options.settings = [](Settings& settings) {
        BackendSettings added = settings.pools[0].backends[0];
        added.address = fourth_address;
        added.host = "10.1.0.4";
        settings.pools[0].backends.push_back(added);
    };
    return options;
}

class SpoolChoice : public ::testing::Test {
  protected:
    SpoolChoice()
        : rig(with_three_backends()),
          backends{&rig.backend(Rig::first_address), &rig.backend(Rig::second_address),
                   &rig.backend(fourth_address)} {}

    // By key: the number of the backend that has its mail.
    using Places = std::map<int, std::size_t>;

    static std::string recipient(int key) { return "<u" + std::to_string(key) + "@one.example>"; }
    void send(int key) {
        const std::string reply =
            send_message(rig, rig.greeted(), "a: b\r\n\r\nc\r\n", recipient(key));
        EXPECT_TRUE(reply.starts_with("250 2.0.0")) << reply;
    }
    // One message for each key, which nobody takes at first, so that it is a retry that chooses.
    Places places_of_retries() {
        for (ScriptedBackend* const backend : backends) {
            backend->answer = [](const std::string& command) {
                return command.starts_with("RCPT") ? std::optional("450 4.2.0 later\r\n")
                                                   : std::nullopt;
            };
        }
        for (int key = 0; key < keys; ++key) {
            send(key);
        }
        rig.run_for(5s);
        EXPECT_EQ(rig.queued(), keys);
        std::array<std::size_t, 3> before{};
        for (std::size_t index = 0; index < backends.size(); ++index) {
            backends[index]->answer = nullptr;
            before[index] = backends[index]->messages.size();
        }
        EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
        Places places;
        for (std::size_t index = 0; index < backends.size(); ++index) {
            for (std::size_t at = before[index]; at < backends[index]->messages.size(); ++at) {
                const BackendMessage& message = *backends[index]->messages[at];
                EXPECT_TRUE(message.taken);
                EXPECT_EQ(message.recipients.size(), 1U);
                const int key = std::stoi(message.recipients.at(0).substr(10));
                EXPECT_TRUE(places.emplace(key, index).second) << "twice: " << key;
            }
        }
        EXPECT_EQ(places.size(), static_cast<std::size_t>(keys));
        return places;
    }

    Rig rig;
    std::array<ScriptedBackend*, 3> backends;
};

TEST_F(SpoolChoice, ADeadBackendsKeysGoToTheSameOthersEachTimeAndComeBackWithIt) {
    const Places home = places_of_retries();
    constexpr std::size_t dead = 1;
    backends[dead]->refuse_connections(true);
    backends[dead]->close_all();
    const Places meanwhile = places_of_retries();
    int moved = 0;
    for (const auto& [key, place] : home) {
        if (place == dead) {
            ++moved;
            EXPECT_NE(meanwhile.at(key), dead);
        } else {
            EXPECT_EQ(meanwhile.at(key), place) << "nobody else's keys move: " << key;
        }
    }
    EXPECT_GT(moved, keys / 6);
    EXPECT_LT(moved, keys / 2);
    EXPECT_EQ(places_of_retries(), meanwhile);
    backends[dead]->refuse_connections(false);
    const int one_of_its = std::ranges::find(home, dead, &Places::value_type::second)->first;
    for (int tries = 0; !rig.lasting->states.state_of("one", Rig::second_address)->is_up();
         ++tries) {
        ASSERT_LT(tries, 20);
        rig.run_for(1min); // it is tried again by mail, one at a time
        send(one_of_its);
        rig.run_for(10s);
    }
    EXPECT_EQ(places_of_retries(), home);
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
