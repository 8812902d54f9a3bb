#include "sim/worker_scenes.h"

#include <gtest/gtest.h>

#include <memory>

namespace ringmx::sim {

RigOptions Single::options(const std::function<void(Settings&)>& change) {
    RigOptions made;
    made.settings = [change](Settings& settings) {
        settings.pools[0].backends.resize(1);
        if (change) {
            change(settings);
        }
    };
    return made;
}

std::string Single::begin(Client& client) {
    (void)rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    return rig.ask(client, "RCPT TO:<user@one.example>\r\n");
}

std::string Single::message(Client& client) {
    std::string answer = begin(client);
    if (!answer.starts_with("250")) {
        return answer;
    }
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    return rig.ask(client, "x\r\n.\r\n");
}

void Pair::once(const std::string& verb, const std::string& reply) {
    both([verb, reply, said = std::make_shared<bool>(false)](const std::string& command) {
        if (*said || !command.starts_with(verb)) {
            return Said();
        }
        *said = true;
        return Said(reply);
    });
}

std::string Pair::send_message(Client& client, std::string_view text) {
    std::string go_on = rig.ask(client, "DATA\r\n");
    if (!go_on.starts_with("354")) {
        return go_on;
    }
    return rig.ask(client, std::string(text) + ".\r\n");
}

std::string Pair::transaction(Client& client) {
    (void)rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    const std::string answer = rig.ask(client, "RCPT TO:<user@one.example>\r\n");
    return answer.starts_with("250") ? send_message(client) : answer;
}

std::size_t Pair::complete_count() const {
    std::size_t count = 0;
    for (const ScriptedBackend* backend : {&first, &second}) {
        for (const auto& message : backend->messages) {
            count += message->complete ? 1U : 0U;
        }
    }
    return count;
}

} // namespace ringmx::sim
