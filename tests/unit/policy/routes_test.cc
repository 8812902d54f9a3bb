#include "policy/routes.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace ringmx::policy {
namespace {

struct RoutesTest : testing::Test {
    Settings settings;
    std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                   ("ringmx-routes-" + std::to_string(::getpid()) + "-" +
                                    testing::UnitTest::GetInstance()->current_test_info()->name());

    RoutesTest() {
        settings.hostname = "mx1.example.com";
        std::filesystem::create_directories(folder);
    }
    ~RoutesTest() override { std::filesystem::remove_all(folder); }

    void route(std::vector<std::string> recipients, std::uint32_t pool, std::string file = "") {
        RouteSettings added;
        added.recipients = std::move(recipients);
        added.recipients_file = std::move(file);
        added.pool_index = pool;
        settings.routes.push_back(added);
    }
    std::string file(const std::string& content) {
        const std::string path = folder / ("list" + std::to_string(settings.routes.size()));
        std::ofstream(path) << content;
        return path;
    }
    [[nodiscard]] Routes built() {
        auto routes = Routes::build(settings);
        EXPECT_TRUE(routes.has_value());
        return std::move(routes).value();
    }
    [[nodiscard]] std::vector<RouteFault> faults() {
        auto routes = Routes::build(settings);
        EXPECT_FALSE(routes.has_value());
        return routes ? std::vector<RouteFault>{} : routes.error();
    }
};

// The pool of a mailbox as a client writes it; -1 for none.
int pool(const Routes& routes, std::string_view mailbox) {
    std::string key;
    const auto target = routes.find_mailbox(mailbox, key);
    return target ? static_cast<int>(target->pool_index) : -1;
}

TEST_F(RoutesTest, TheMostSpecificEntryWins) {
    route({"*"}, 0);
    route({"*.example.org"}, 1);
    route({"*.deep.example.org"}, 2);
    route({"a.deep.example.org"}, 3);
    route({"vip@a.deep.example.org"}, 4);
    const Routes routes = built();
    EXPECT_EQ(pool(routes, "vip@a.deep.example.org"), 4);
    EXPECT_EQ(pool(routes, "x@a.deep.example.org"), 3);
    EXPECT_EQ(pool(routes, "x@b.deep.example.org"), 2);
    EXPECT_EQ(pool(routes, "x@c.b.deep.example.org"), 2);
    EXPECT_EQ(pool(routes, "x@deep.example.org"), 1);
    EXPECT_EQ(pool(routes, "x@b.example.org"), 1);
    EXPECT_EQ(pool(routes, "x@example.org"), 0);
    EXPECT_EQ(pool(routes, "x@notexample.org"), 0);
    EXPECT_EQ(routes.entries_count(), 4U);
    EXPECT_EQ(routes.pool_of("vip", "a.deep.example.org"), 4U);
}

TEST_F(RoutesTest, AWildcardTakesSubdomainsNotTheDomainItself) {
    route({"*.example.org"}, 0);
    const Routes routes = built();
    EXPECT_EQ(pool(routes, "x@example.org"), -1);
    EXPECT_EQ(pool(routes, "x@a.b.c.example.org"), 0);
    EXPECT_EQ(pool(routes, "x@org"), -1);
    EXPECT_EQ(routes.pool_of("x", "example.net"), std::nullopt);
}

TEST_F(RoutesTest, NothingIsTakenWithoutRoutes) {
    const Routes routes = built();
    EXPECT_EQ(pool(routes, "x@example.org"), -1);
    EXPECT_FALSE(routes.takes_postmaster());
}

TEST_F(RoutesTest, CaseAndSpellingOfDomainsAreIgnored) {
    route({"Example.COM", "Bücher.example", "Some.One@Example.net"}, 0);
    const Routes routes = built();
    EXPECT_EQ(pool(routes, "X@eXample.com"), 0);
    EXPECT_EQ(pool(routes, "x@xn--bcher-kva.example"), 0);
    EXPECT_EQ(pool(routes, "x@BÜCHER.example"), 0);
    EXPECT_EQ(pool(routes, "sOME.oNE@example.NET"), 0);
    EXPECT_EQ(pool(routes, "other@example.net"), -1);
}

TEST_F(RoutesTest, TheKeyIsTheCanonicalMailbox) {
    route({"*"}, 0);
    const Routes routes = built();
    std::string key;
    ASSERT_TRUE(routes.find_mailbox("Some.Body@BÜCHER.example", key));
    EXPECT_EQ(key, "some.body@xn--bcher-kva.example");
    EXPECT_FALSE(routes.find_mailbox("no at sign", key));
    EXPECT_EQ(key, "");
}

TEST_F(RoutesTest, AddressLiteralsAreTakenByTheirOwnEntryOrTheCatchAllOnly) {
    route({"[192.0.2.1]", "*.example"}, 0);
    const Routes routes = built();
    EXPECT_EQ(pool(routes, "x@[192.0.2.1]"), 0);
    EXPECT_EQ(pool(routes, "x@[192.0.2.2]"), -1);
    route({"*"}, 1);
    EXPECT_EQ(pool(built(), "x@[192.0.2.2]"), 1);
}

TEST_F(RoutesTest, AQuotedLocalPartWithAnAtSignIsOneMailbox) {
    route({"\"a@b\"@example.com"}, 0);
    const Routes routes = built();
    EXPECT_EQ(pool(routes, "\"a@b\"@example.com"), 0);
    EXPECT_EQ(pool(routes, "b@example.com"), -1);
}

TEST_F(RoutesTest, TheSameEntryInTwoRoutesIsAFaultThatNamesBothPlaces) {
    route({"example.com", "x@example.org"}, 0);
    route({"a.example", "EXAMPLE.com", "*"}, 0);
    route({"*"}, 1, file("# list\n\nX@EXAMPLE.ORG\n"));
    const auto found = faults();
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[0].kind, RouteFault::Kind::duplicate);
    EXPECT_EQ(found[0].pointer, "/routes/1/recipients/1");
    EXPECT_EQ(found[0].text(), "found \"EXAMPLE.com\", which is /routes/0/recipients/0 too, "
                               "expected each entry in one route");
    EXPECT_FALSE(found[0].of_file);
    EXPECT_EQ(found[1].pointer, "/routes/2/recipients/0");
    EXPECT_EQ(found[1].first, "/routes/1/recipients/2");
    EXPECT_EQ(found[2].pointer, "/routes/2/recipients_file");
    EXPECT_EQ(found[2].text(), "\"" + settings.routes[2].recipients_file +
                                   "\" line 3: found \"X@EXAMPLE.ORG\", which is "
                                   "/routes/0/recipients/1 too, expected each entry in one route");
    EXPECT_TRUE(found[2].of_file);
}

TEST_F(RoutesTest, AnEntryThatRepeatsAFilesNamesTheFilesLine) {
    route({}, 0, file("a.example\nb.example\n"));
    route({"B.example"}, 0);
    const auto found = faults();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].pointer, "/routes/1/recipients/0");
    EXPECT_EQ(found[0].text(), "found \"B.example\", which is \"" +
                                   settings.routes[0].recipients_file +
                                   "\" line 2 (/routes/0/recipients_file) too, expected each "
                                   "entry in one route");
    EXPECT_TRUE(found[0].of_file);
}

// Two routes that named one file of a million lines gave a million faults.
TEST_F(RoutesTest, FaultsOfAListAreBounded) {
    std::string content;
    std::string bad;
    for (int i = 0; i < 1000; ++i) {
        content += "user" + std::to_string(i) + "@example.com\n";
        bad += "bad one\n";
    }
    const std::string path = file(content);
    route({}, 0, path);
    route({}, 0, path);
    route({}, 0, file(bad));
    const auto found = faults();
    ASSERT_EQ(found.size(), 2 * (route_file_faults_max + 1));
    EXPECT_EQ(found[route_file_faults_max].kind, RouteFault::Kind::more_duplicates);
    EXPECT_EQ(found[route_file_faults_max].pointer, "/routes/1/recipients_file");
    EXPECT_EQ(found.back().kind, RouteFault::Kind::more_bad_entries);
    EXPECT_EQ(found.back().pointer, "/routes/2/recipients_file");
}

TEST_F(RoutesTest, TheSameEntryTwiceInOneRouteIsHarmless) {
    route({"example.com", "example.COM", "*", "*"}, 0, file("example.com\nexample.com\n"));
    EXPECT_EQ(built().entries_count(), 1U);
}

TEST_F(RoutesTest, AllFaultsAreGivenAtOnce) {
    route({"@", "ok.example"}, 0, folder / "absent");
    route({"*.*.example"}, 0, file("fine.example\n" + std::string(5000, 'a') + "\n"));
    const auto found = faults();
    ASSERT_EQ(found.size(), 4U);
    EXPECT_EQ(found[0].kind, RouteFault::Kind::not_an_entry);
    EXPECT_EQ(found[1].kind, RouteFault::Kind::unreadable_file);
    EXPECT_EQ(found[1].pointer, "/routes/0/recipients_file");
    EXPECT_EQ(found[2].kind, RouteFault::Kind::not_an_entry);
    EXPECT_EQ(found[3].kind, RouteFault::Kind::line_too_long);
}

TEST_F(RoutesTest, PostmasterWithoutADomainIsPostmasterHere) {
    route({"mx1.example.com"}, 3);
    const Routes routes = built();
    std::string key;
    const auto target = routes.find_mailbox("PostMaster", key);
    ASSERT_TRUE(target);
    EXPECT_EQ(target->pool_index, 3U);
    EXPECT_FALSE(target->rewritten_to_postmaster);
    EXPECT_EQ(key, "postmaster@mx1.example.com");
}

TEST_F(RoutesTest, PostmasterThatNoRouteTakesGoesToTheConfiguredOne) {
    route({"example.com"}, 1);
    settings.postmaster = "Admin@example.com";
    const Routes routes = built();
    EXPECT_TRUE(routes.takes_postmaster());
    for (const char* mailbox : {"Postmaster", "postmaster@MX1.example.com"}) {
        std::string key;
        const auto target = routes.find_mailbox(mailbox, key);
        ASSERT_TRUE(target) << mailbox;
        EXPECT_EQ(target->pool_index, 1U);
        EXPECT_TRUE(target->rewritten_to_postmaster);
        EXPECT_EQ(key, "admin@example.com");
    }
    EXPECT_EQ(pool(routes, "other@mx1.example.com"), -1);
    settings.postmaster = "admin@elsewhere.example";
    EXPECT_FALSE(built().takes_postmaster());
}

TEST_F(RoutesTest, TheDigestTellsOtherRoutesFromTheSame) {
    const auto digest = [this](const std::vector<std::string>& first, const std::string& listed,
                               const std::string& postmaster) {
        settings.routes.clear();
        settings.postmaster = postmaster;
        route(first, 0, file(listed));
        route({"b.example"}, 1);
        return built().digest();
    };
    const std::uint64_t one = digest({"a.example"}, "x@c.example\n", "");
    EXPECT_EQ(digest({"a.example"}, "x@c.example\n", ""), one);
    EXPECT_NE(digest({"d.example"}, "x@c.example\n", ""), one);
    EXPECT_NE(digest({"a.example", "*"}, "x@c.example\n", ""), one);
    EXPECT_NE(digest({"a.example"}, "y@c.example\n", ""), one);
    EXPECT_NE(digest({"a.example"}, "x@c.example\n", "p@a.example"), one);
}

TEST_F(RoutesTest, WhetherARouteTakesMoreThanAddressesIsKnownOfItsFileToo) {
    route({"u@a.example"}, 0, file("v@a.example\n"));
    route({"u@b.example"}, 0, file("v@b.example\nc.example\n"));
    route({"d.example"}, 0);
    route({"*.e.example"}, 0);
    route({"*"}, 0);
    EXPECT_EQ(built().takes_domains(), (std::vector<bool>{false, true, true, true, true}));
}

TEST_F(RoutesTest, ADomainWithTheMostLabelsIsLookedUp) {
    std::string domain;
    for (int i = 0; i < 126; ++i) {
        domain += "a.";
    }
    domain += "a";
    ASSERT_EQ(domain.size(), 253U);
    route({"*.a.a"}, 0);
    EXPECT_EQ(pool(built(), "x@" + domain), 0);
}

TEST_F(RoutesTest, AHundredThousandEntriesOfAFileAreFoundWithinTheirMemoryBound) {
    std::string content;
    for (int i = 0; i < 100'000; ++i) {
        content += (i % 2 == 0 ? "user" + std::to_string(i) + "@example.com\n"
                               : "d" + std::to_string(i) + ".example\n");
    }
    route({}, 5, file(content));
    const Routes routes = built();
    ASSERT_EQ(routes.entries_count(), 100'000U);
    EXPECT_LE(routes.memory_bytes(), content.size() + 60 * 100'000U);
    for (int i = 0; i < 100'000; i += 2) {
        ASSERT_EQ(routes.pool_of("user" + std::to_string(i), "example.com"), 5U);
        ASSERT_EQ(routes.pool_of("x", "d" + std::to_string(i + 1) + ".example"), 5U);
        ASSERT_EQ(routes.pool_of("user" + std::to_string(i + 1), "example.com"), std::nullopt);
    }
}

} // namespace
} // namespace ringmx::policy
