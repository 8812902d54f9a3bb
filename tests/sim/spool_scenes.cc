#include "sim/spool_scenes.h"

#include <gtest/gtest.h>
#include <memory>

namespace ringmx::sim {

RigOptions spooling(std::uint32_t workers) {
    RigOptions options;
    options.workers = workers;
    options.spool = true;
    return options;
}

std::string send_message(Rig& rig, Client& client, std::string_view content,
                         std::string_view recipient) {
    std::string mail = rig.ask(client, "MAIL FROM:<sender@far.example>\r\n");
    if (!mail.starts_with("250")) {
        return mail;
    }
    EXPECT_EQ(rig.ask(client, "RCPT TO:" + std::string(recipient) + "\r\n"), "250 2.1.5 Ok\r\n");
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    return rig.ask(client, std::string(content) + ".\r\n");
}

std::string content_of_100_kb() {
    std::string content;
    while (content.size() < 100'000) {
        content += "a: " + std::string(900, 'x') + "\r\n";
    }
    return content;
}

std::vector<std::string> taken(const ScriptedBackend& backend) {
    std::vector<std::string> octets;
    for (const std::shared_ptr<BackendMessage>& message : backend.messages) {
        if (message->taken) {
            octets.push_back(message->octets);
        }
    }
    return octets;
}

} // namespace ringmx::sim
