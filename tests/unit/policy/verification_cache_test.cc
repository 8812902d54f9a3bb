#include "policy/verification_cache.h"

#include <algorithm>
#include <deque>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace ringmx::policy {
namespace {

constexpr Duration day = 24h;
const RecipientRefusal unknown{550, {5, 1, 1}, "No such user"};

Instant at(Duration time) { return Instant(1h + time); }

class VerificationCacheTest : public testing::Test {
  protected:
    VerificationCache::Key key(const std::string& recipient, std::string_view pool = "main") {
        return cache_.key_of(pool, recipient);
    }
    void accept(const std::string& recipient) { cache_.accept(key(recipient), at(0s), day); }
    void refuse(const std::string& recipient, const RecipientRefusal& refusal = unknown) {
        cache_.refuse(key(recipient), refusal, recipient, at(0s), day);
    }
    // "", "yes", or the refusal's text.
    std::string said(const std::string& recipient, Instant now = at(0s)) {
        const auto answer = cache_.find(key(recipient), now);
        return !answer                 ? ""
               : answer->is_positive() ? "yes"
                                       : VerificationCache::text_for(*answer, recipient);
    }
    std::size_t listed() {
        std::vector<VerificationCache::Listed> page(3);
        std::uint64_t cursor = 0;
        std::size_t total = 0;
        do {
            total += cache_.list(cursor, page, at(0s));
        } while (cursor != 0);
        return total;
    }

    VerificationCache cache_{100, 42};
};

TEST_F(VerificationCacheTest, AnswersAreKeptByPoolAndRecipient) {
    EXPECT_EQ(said("a@b.example"), "");
    accept("a@b.example");
    refuse("c@b.example");
    EXPECT_EQ(said("a@b.example"), "yes");
    EXPECT_EQ(said("c@b.example"), "No such user");
    const auto answer = cache_.find(key("c@b.example"), at(0s));
    EXPECT_EQ(answer->refusal.code, 550);
    EXPECT_EQ(answer->refusal.enhanced, unknown.enhanced);
    EXPECT_FALSE(cache_.find(key("a@b.example", "other"), at(0s)));
    EXPECT_EQ(cache_.count(), 2U);
}

TEST_F(VerificationCacheTest, KeysHangOnTheSeed) {
    EXPECT_NE(VerificationCache(100, 1).key_of("main", "a@b.example"), key("a@b.example"));
    EXPECT_EQ(VerificationCache(100, 42).key_of("main", "a@b.example"), key("a@b.example"));
    EXPECT_NE(key("ba", "a"), key("a", "ab"));
}

TEST_F(VerificationCacheTest, AnAnswerEndsWithItsTime) {
    cache_.accept(key("a@b.example"), at(0s), 10s);
    cache_.refuse(key("c@b.example"), unknown, "c@b.example", at(0s), 100ms);
    EXPECT_EQ(said("c@b.example", at(99ms)), "No such user");
    EXPECT_EQ(said("c@b.example", at(300ms)), "");
    EXPECT_EQ(cache_.count(), 1U);
    EXPECT_EQ(said("a@b.example", at(9999ms)), "yes");
    EXPECT_EQ(said("a@b.example", at(10200ms)), "");
    EXPECT_EQ(cache_.count(), 0U);
    cache_.accept(key("a@b.example"), at(0s), Duration::max() / 2);
    EXPECT_EQ(said("a@b.example", at(365 * day)), "yes");
}

TEST_F(VerificationCacheTest, TheLastAnswerCounts) {
    refuse("a@b.example");
    accept("a@b.example");
    EXPECT_EQ(said("a@b.example"), "yes");
    refuse("a@b.example", {551, {5, 1, 6}, "Moved"});
    EXPECT_EQ(said("a@b.example"), "Moved");
    EXPECT_EQ(cache_.count(), 1U);
    EXPECT_EQ(listed(), 1U);
}

TEST_F(VerificationCacheTest, TheOldestGoesFirst) {
    for (int number = 0; number < 100; ++number) {
        accept(std::to_string(number));
    }
    accept("0"); // asked again: the newest now, and 1 the oldest
    EXPECT_EQ(said("0"), "yes");
    EXPECT_EQ(said("1"), "yes");
    accept("100");
    EXPECT_EQ(said("1"), "");
    EXPECT_EQ(said("0"), "yes");
    EXPECT_EQ(said("2"), "yes");
    for (int number = 200; number < 298; ++number) {
        accept(std::to_string(number));
    }
    EXPECT_EQ(said("99"), "");
    EXPECT_EQ(said("0"), "yes");
    accept("last");
    EXPECT_EQ(said("0"), "");
    EXPECT_EQ(said("100"), "yes");
    EXPECT_EQ(cache_.count(), 100U);
}

TEST_F(VerificationCacheTest, ARefusalIsSaidAsTheBackendSaidIt) {
    const std::string text = "<User@b.example>: no user@b.example\nhere, USER@B.EXAMPLE\1";
    refuse("user@b.example", {550, {5, 1, 1}, text});
    EXPECT_EQ(said("user@b.example"), "<user@b.example>: no user@b.example\nhere, user@b.example?");
    const std::string long_text(5000, 'x');
    refuse("b@b.example", {550, {5, 1, 1}, long_text});
    EXPECT_EQ(said("b@b.example") + "5.1.1 ",
              std::string(ReplyTable::text_bytes_max - 6, 'x') + "5.1.1 ");
}

// Replies that differ by the address alone are one text, and each recipient hears its own.
TEST_F(VerificationCacheTest, NoRecipientHearsOfAnother) {
    VerificationCache cache(100'000, 7);
    for (int number = 0; number < 50'000; ++number) {
        const std::string recipient = std::to_string(number) + "@b.example";
        const std::string text = "<" + recipient + "> is unknown";
        cache.refuse(cache.key_of("main", recipient), {550, {5, 1, 1}, text}, recipient, at(0s),
                     day);
    }
    for (int number = 0; number < 50'000; number += 777) {
        const std::string recipient = std::to_string(number) + "@b.example";
        const auto answer = cache.find(cache.key_of("main", recipient), at(0s));
        ASSERT_TRUE(answer);
        EXPECT_EQ(VerificationCache::text_for(*answer, recipient),
                  "<" + recipient + "> is unknown");
    }
}

TEST_F(VerificationCacheTest, TooManyDifferentTextsBecomePlainOnes) {
    VerificationCache cache(100'000, 7);
    std::set<std::string_view> texts;
    for (int number = 0; number < 20'000; ++number) {
        const std::string recipient = std::to_string(number);
        const auto key = cache.key_of("main", recipient);
        const std::string text = "ticket " + std::string(1, static_cast<char>('a' + number % 26)) +
                                 std::to_string(number * 7919);
        const RecipientRefusal refusal{
            static_cast<std::uint16_t>(550 + number % 5), {5, 1, 1}, text};
        cache.refuse(key, refusal, "", at(0s), day);
        const auto answer = cache.find(key, at(0s));
        EXPECT_EQ(answer->refusal.code, refusal.code);
        texts.insert(answer->refusal.text);
        if (number == 19'999) {
            EXPECT_EQ(answer->refusal.text, "Recipient address rejected");
        }
    }
    EXPECT_LE(texts.size(), ReplyTable::texts_max);
    // Codes of a backend's own making end there too.
    for (std::uint16_t detail = 0; detail < 6000; ++detail) {
        const auto key = cache.key_of("other", std::to_string(detail));
        cache.refuse(key, {550, {5, 1, detail}, "x"}, "", at(0s), day);
        EXPECT_TRUE(cache.find(key, at(0s)));
    }
    EXPECT_EQ(cache.find(cache.key_of("other", "5999"), at(0s))->refusal.enhanced,
              unknown.enhanced);
    cache.purge();
    cache.refuse(cache.key_of("main", "1"), {550, {5, 1, 1}, "own again"}, "", at(0s), day);
    EXPECT_EQ(cache.find(cache.key_of("main", "1"), at(0s))->refusal.text, "own again");
}

TEST_F(VerificationCacheTest, TextsThatNobodyNeedsMakeRoom) {
    VerificationCache cache(10, 7);
    for (int number = 0; number < 20'000; ++number) {
        const std::string text = "ticket " + std::to_string(number);
        const auto key = cache.key_of("main", std::to_string(number));
        cache.refuse(key, {550, {5, 1, 1}, text}, "", at(0s), day);
        ASSERT_EQ(cache.find(key, at(0s))->refusal.text, text);
    }
}

TEST_F(VerificationCacheTest, APurgeForgetsEverything) {
    accept("a");
    refuse("b");
    cache_.purge();
    EXPECT_EQ(cache_.count(), 0U);
    EXPECT_EQ(said("a") + said("b"), "");
    EXPECT_EQ(listed(), 0U);
    accept("a");
    EXPECT_EQ(said("a"), "yes");
    EXPECT_EQ(listed(), 1U);
}

TEST_F(VerificationCacheTest, APurgeOfOneForgetsOnlyThat) {
    accept("a");
    refuse("b");
    EXPECT_TRUE(cache_.purge(key("b")));
    EXPECT_FALSE(cache_.purge(key("b")));
    EXPECT_FALSE(cache_.purge(key("a", "other")));
    EXPECT_EQ(said("a") + said("b"), "yes");
    EXPECT_EQ(cache_.count(), 1U);
    EXPECT_EQ(listed(), 1U);
}

TEST_F(VerificationCacheTest, WhatIsKnownOfOneIsLookedUpWithItsTime) {
    cache_.accept(key("a"), at(0s), 90s);
    refuse("b");
    EXPECT_TRUE(cache_.look_up(key("a"), at(80s)).value().answer.is_positive());
    const Duration remaining = cache_.look_up(key("a"), at(80s)).value().remaining;
    EXPECT_GE(remaining, 10s);
    EXPECT_LE(remaining, 10s + 200ms); // the tick
    EXPECT_EQ(cache_.look_up(key("b"), at(80s)).value().answer.refusal.code, 550);
    EXPECT_FALSE(cache_.look_up(key("a"), at(91s)));
    EXPECT_FALSE(cache_.look_up(key("c"), at(0s)));
    EXPECT_EQ(cache_.count(), 2U); // looking changes nothing
}

TEST_F(VerificationCacheTest, APageEndsAfterSoManyPlacesThoughTheyHoldNothing) {
    VerificationCache cache(3 * VerificationCache::looks_max, 7);
    for (std::uint32_t number = 0; number < 2 * VerificationCache::looks_max; ++number) {
        cache.accept(cache.key_of("main", std::to_string(number)), at(0s), 1s);
    }
    cache.accept(cache.key_of("main", "last"), at(0s), day);
    std::vector<VerificationCache::Listed> page(7);
    std::uint64_t cursor = 0;
    EXPECT_EQ(cache.list(cursor, page, at(5s)), 0U);
    EXPECT_EQ(cursor, VerificationCache::looks_max + 1);
    EXPECT_EQ(cache.list(cursor, page, at(5s)), 0U);
    EXPECT_EQ(cache.list(cursor, page, at(5s)), 1U);
    EXPECT_EQ(cursor, 0U);
}

TEST_F(VerificationCacheTest, PagesListWhatStaysOnceAndOldestFirst) {
    for (int number = 0; number < 130; ++number) {
        accept(std::to_string(number));
    }
    refuse("60");
    cache_.accept(key("61"), at(0s), 1s);
    std::vector<VerificationCache::Listed> page(7);
    std::vector<VerificationCache::Key> keys;
    std::uint64_t cursor = 0;
    int pages = 0;
    do {
        const std::size_t count = cache_.list(cursor, page, at(10s));
        for (std::size_t index = 0; index < count; ++index) {
            keys.push_back(page[index].key);
            EXPECT_LE(page[index].remaining, day);
        }
        accept("new" + std::to_string(pages)); // it pushes out the oldest, which were listed
        ++pages;
    } while (cursor != 0 && pages < 100);
    ASSERT_LT(pages, 100);
    std::size_t next = 0;
    for (int number = 32; number < 130; ++number) {
        if (number == 60 || number == 61) {
            continue;
        }
        while (next < keys.size() && keys[next] != key(std::to_string(number))) {
            ++next;
        }
        ASSERT_LT(next, keys.size()) << number;
    }
    EXPECT_EQ(std::ranges::count(keys, key("60")), 1);
    EXPECT_EQ(std::ranges::count(keys, key("61")), 0) << "its time is over";
}

TEST_F(VerificationCacheTest, AnEntryCostsFewOctets) {
    for (const std::uint32_t entries : {100'000U, 131'072U, 250'000U, 1'000'000U}) {
        const VerificationCache cache(entries, 1);
        EXPECT_LE(cache.memory_bytes(), entries * VerificationCache::bytes_per_entry_max);
    }
}

TEST_F(VerificationCacheTest, WithoutRoomNothingIsKept) {
    VerificationCache cache(0, 1);
    cache.accept(key("a"), at(0s), day);
    cache.refuse(key("b"), unknown, "b", at(0s), day);
    EXPECT_FALSE(cache.find(key("a"), at(0s)));
    EXPECT_FALSE(cache.find(key("b"), at(0s)));
    EXPECT_FALSE(cache.purge(key("a")));
    EXPECT_EQ(cache.count(), 0U);
}

// Against a plain map and queue that say the same slowly.
TEST_F(VerificationCacheTest, AgreesWithItsDefinition) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        std::mt19937 random(seed);
        const auto entries_max = static_cast<std::uint32_t>(1 + random() % 40);
        VerificationCache cache(entries_max, seed);
        struct Known {
            std::string said;
            Instant ends;
        };
        std::map<std::string, Known> known;
        std::deque<std::string> order; // "" where one was answered anew
        Instant now = at(0s);
        for (int step = 0; step < 3000; ++step) {
            now += Duration(random() % 1000) * 1'000'000;
            const std::string who = std::to_string(random() % 60);
            const auto key = cache.key_of("p", who);
            const Duration time = 10s + Duration(random() % 100) * 1'000'000'000;
            if (random() % 3 == 0) {
                const auto answer = cache.find(key, now);
                const auto found = known.find(who);
                const bool is_known = found != known.end() && now < found->second.ends;
                if (answer) {
                    ASSERT_TRUE(found != known.end() && now < found->second.ends + 200ms);
                    ASSERT_EQ(answer->is_positive() ? "yes" : std::string(answer->refusal.text),
                              found->second.said);
                } else {
                    ASSERT_FALSE(is_known) << "seed " << seed << " step " << step;
                }
                continue;
            }
            if (const auto again = std::ranges::find(order, who); again != order.end()) {
                *again = "";
            }
            if (order.size() == entries_max) {
                known.erase(order.front());
                order.pop_front();
            }
            order.push_back(who);
            if (random() % 2 == 0) {
                cache.accept(key, now, time);
                known[who] = {"yes", now + time};
            } else {
                const std::string text = "no " + std::to_string(random() % 5);
                cache.refuse(key, {550, {5, 1, 1}, text}, "", now, time);
                known[who] = {text, now + time};
            }
        }
        ASSERT_LE(cache.count(), entries_max);
    }
}

} // namespace
} // namespace ringmx::policy
