// The bound on kept answers, with several workers that have a part of it each.
#include "sim/worker_scenes.h"

#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

std::uint64_t kept(const Rig& rig) {
    std::uint64_t sum = 0;
    for (const auto& one : rig.workers) {
        sum += static_cast<std::uint64_t>(one->counters.verification_entries.value());
    }
    return sum;
}

TEST(VerificationEntries, AllWorkersTogetherKeepAsManyAsTheyMayAndNoMore) {
    for (const std::uint64_t entries : {1U, 2U, 4U, 11U}) {
        RigOptions options;
        options.workers = 4;
        options.spool = true;
        options.settings = [&](Settings& settings) {
            settings.routes[1].verify_backend = true;
            settings.verification.entries = entries;
        };
        Rig rig(options);
        (void)rig.backend(Rig::third_address);
        for (int number = 0; number < 200; ++number) {
            Client& client = rig.greeted();
            EXPECT_TRUE(rig.ask(client, "MAIL FROM:<a@b.example>\r\n").starts_with("250"));
            const std::string recipient = "u" + std::to_string(number) + "@two.example";
            EXPECT_TRUE(rig.ask(client, "RCPT TO:<" + recipient + ">\r\n").starts_with("250"));
            EXPECT_EQ(rig.ask(client, "QUIT\r\n").substr(0, 3), "221");
            ASSERT_LE(kept(rig), entries);
        }
        EXPECT_EQ(kept(rig), entries);
        rig.finish();
    }
}

} // namespace
} // namespace ringmx::sim
