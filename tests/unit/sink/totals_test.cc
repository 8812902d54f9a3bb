#include "sink/totals.h"

#include <gtest/gtest.h>
#include <string>

namespace ringmx::sink {
namespace {

TEST(IdSet, TellsWhatCameBeforeWhileItGrows) {
    IdSet ids;
    constexpr int count = 10'000;
    for (int number = 0; number < count; ++number) {
        ASSERT_TRUE(ids.insert("run." + std::to_string(number)));
    }
    for (int number = 0; number < count; ++number) {
        ASSERT_FALSE(ids.insert("run." + std::to_string(number)));
    }
    EXPECT_EQ(ids.size(), std::size_t{count});
    EXPECT_TRUE(ids.insert(""));
}

TEST(Totals, AnIdThatTwoWorkersSawIsADuplicate) {
    Totals all;
    for (int worker = 0; worker < 2; ++worker) {
        Totals one;
        one.connections = 1;
        one.messages = 3;
        one.recipients = 4;
        one.bytes = 100;
        one.messages_without_id = 1;
        one.ids.insert("shared");
        one.unanswered = 2;
        one.ids.insert("own" + std::to_string(worker));
        all.add(one);
    }
    const std::string six = "{\"connections\": 2, \"messages\": 6, \"recipients\": 8, "
                            "\"bytes\": 200, \"unique\": 5, \"duplicates\": 1";
    EXPECT_EQ(all.json(false), six + "}\n");
    EXPECT_EQ(all.json(true), six + ", \"unanswered\": 4}\n");
}

} // namespace
} // namespace ringmx::sink
