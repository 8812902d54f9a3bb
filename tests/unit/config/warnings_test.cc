#include "unit/config/minimal.h"

#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::vector<std::string> warnings(const std::string& listener_keys, const std::string& routes,
                                  const std::string& pools, const std::string& more = "") {
    const Loaded loaded = parse(
        R"({"listeners": [{"address": "127.0.0.1:25", "acknowledge": "backend")" + listener_keys +
            R"(}], "routes": [)" + routes + R"(], "pools": {)" + pools + "}" + more + "}",
        "/", Files::are_left);
    EXPECT_TRUE(loaded.settings) << report("", loaded.faults);
    return loaded.warnings;
}

constexpr const char* one_backend = R"({"backends": [{"address": "a:25"}]})";

TEST(SettingsWarnings, AnOrdinaryConfigHasNone) {
    EXPECT_THAT(warnings("", R"({"recipients": ["*"], "pool": "p"})",
                         std::string(R"("p": )") + one_backend),
                IsEmpty());
}

TEST(SettingsWarnings, PoolsThatTakeNoMail) {
    EXPECT_THAT(
        warnings(
            "", "",
            R"("empty": {}, "zero": {"backends": [{"address": "a:25", "weight": 0}, {"address": "b:25", "weight": 0}]},
                                    "some": {"backends": [{"address": "a:25", "weight": 0}, {"address": "b:25"}]})"),
        ElementsAre("/pools/empty/backends: the pool has no backend, so it takes no mail",
                    "/pools/zero/backends: every weight is 0, so the pool takes no mail"));
}

TEST(SettingsWarnings, RoutesThatTakeNothing) {
    EXPECT_THAT(
        warnings(
            "",
            R"({"pool": "p"}, {"recipients": [], "pool": "p"}, {"recipients_file": "x", "pool": "p"})",
            std::string(R"("p": )") + one_backend),
        ElementsAre(HasSubstr("/routes/0: "), HasSubstr("/routes/1: ")));
}

TEST(SettingsWarnings, NobodyTrustedToSpeakProxy) {
    EXPECT_THAT(warnings(R"(, "proxy_protocol": {})", "", ""),
                ElementsAre(HasSubstr("/listeners/0/proxy_protocol/trusted: ")));
    EXPECT_THAT(warnings(R"(, "proxy_protocol": {"trusted": ["10.0.0.0/8"]})", "", ""), IsEmpty());
}

TEST(SettingsWarnings, RetriesThatDontFitTogether) {
    const std::string routes = R"({"recipients": ["a.example"], "pool": "p"})";
    const std::string pools = R"("p": )" + std::string(one_backend);
    const auto of = [&](const std::string& retry) {
        return warnings("", routes, pools, R"(, "spool": {"retry": )" + retry + "}");
    };
    EXPECT_THAT(of(R"({"initial": "2h", "maximum": "1h"})"),
                ElementsAre(HasSubstr("/spool/retry/initial: above maximum")));
    EXPECT_THAT(
        of(R"({"initial": "1m", "expire": "30s"})"),
        ElementsAre(HasSubstr("/spool/retry/expire: before the first retry is due: mail that a "
                              "backend puts off is tried once more")));
    EXPECT_THAT(of(R"({"initial": "1m", "expire": "1m"})"), IsEmpty());
}

TEST(SettingsWarnings, BackendListenerThatReachesLmtpOrSeveralPools) {
    const std::string lmtp = R"({"protocol": "lmtp", "backends": [{"address": "a:24"}]})";
    EXPECT_THAT(warnings("", R"({"recipients": ["a.example"], "pool": "l"})",
                         R"("l": )" + lmtp + R"(, "s": )" + one_backend),
                ElementsAre(HasSubstr("/pools/l: a \"backend\" listener reaches this LMTP pool")));
    EXPECT_THAT(
        warnings(
            "",
            R"({"recipients": ["a.example"], "pool": "l"}, {"recipients": ["b.example"], "pool": "s"})",
            R"("l": )" + lmtp + R"(, "s": )" + one_backend),
        ElementsAre(HasSubstr("/pools/l: "),
                    HasSubstr("/routes: a \"backend\" listener reaches 2 pools")));
    // A pool that no route names is out of reach.
    EXPECT_THAT(warnings("", R"({"recipients": ["a.example"], "pool": "s"})",
                         R"("l": )" + lmtp + R"(, "s": )" + one_backend),
                IsEmpty());
}

TEST(SettingsWarnings, RoutesThatTakeUnknownUsers) {
    Settings settings;
    settings.routes.resize(3);
    settings.routes[1].verify_backend = true;
    EXPECT_THAT(unknown_users_warnings(settings, {true, true, false}),
                ElementsAre(StartsWith("/routes/0: ")));
    EXPECT_THAT(unknown_users_warnings(settings, {false, true, false}), IsEmpty());
}

TEST(SettingsWarnings, EndOfDataLongerThanABackendListenerWaits) {
    EXPECT_THAT(warnings("", "", "", R"(, "timeouts": {"backend_end_of_data": "481s"})"),
                ElementsAre(HasSubstr("/timeouts/backend_end_of_data: ")));
    EXPECT_THAT(warnings("", "", "", R"(, "timeouts": {"backend_end_of_data": "8m"})"), IsEmpty());
}

TEST(SettingsWarnings, WhatIsAskedForAndNotBuiltIsTold) {
    EXPECT_THAT(
        warnings(R"(, "handoff": "3s")", "",
                 R"("a/b": {"backends": [{"address": "a:25"}], "ca_file": "ca.pem"})",
                 R"(, "tls": {"minimum_version": "1.3", "ciphers": "A"},
                      "spool": {"on_failure": "bounce", "bounce_pool": "a/b"})"),
        ElementsAre("/listeners/0/handoff: has no effect yet: "
                    "\"backend_or_spool\" is not built",
                    "/tls/minimum_version: has no effect yet: TLS is not built",
                    "/tls/ciphers: has no effect yet: TLS is not built",
                    "/pools/a~1b/ca_file: has no effect yet: TLS to backends is not built"));
    EXPECT_THAT(warnings(R"(, "handoff": "2s")", "",
                         R"("a": {"backends": [{"address": "a:25"}], "ca_file": ""})",
                         R"(, "tls": {"minimum_version": "1.2", "ciphers": "", "certificates": []},
                      "verification": {"unavailable": "accept"},
                      "spool": {"on_failure": "hold", "bounce_pool": ""})"),
                IsEmpty());
}

TEST(PostmasterWarning, NamesWhatNobodyTakes) {
    Settings settings;
    settings.hostname = "mx.example";
    EXPECT_THAT(postmaster_warning(settings),
                HasSubstr("no route takes \"postmaster@mx.example\" (RFC 5321, 4.5.1)"));
    settings.postmaster = "pm@x.example";
    EXPECT_THAT(postmaster_warning(settings),
                HasSubstr("\"postmaster@mx.example\" nor \"pm@x.example\""));
}

class MachineWarnings : public testing::Test {
  protected:
    Settings settings_;
    Machine machine_{.is_root = false,
                     .descriptors_max = UINT64_MAX,
                     .has_user = [](const std::string& name) { return name == "ringmx"; }};
};

TEST_F(MachineWarnings, NoneWhenAllIsWell) {
    EXPECT_THAT(machine_warnings(settings_, Purpose::serve, machine_), IsEmpty());
    settings_.user = "ringmx";
    machine_.is_root = true;
    EXPECT_THAT(machine_warnings(settings_, Purpose::serve, machine_), IsEmpty());
}

TEST_F(MachineWarnings, StayingRootIsTold) {
    machine_.is_root = true;
    for (const Purpose purpose : {Purpose::check, Purpose::serve}) {
        EXPECT_THAT(machine_warnings(settings_, purpose, machine_),
                    ElementsAre(HasSubstr("/user: absent")));
    }
}

TEST_F(MachineWarnings, UnknownUser) {
    settings_.user = "nobody-knows";
    EXPECT_THAT(machine_warnings(settings_, Purpose::check, machine_),
                ElementsAre("/user: this machine has no user \"nobody-knows\""));
}

TEST_F(MachineWarnings, MoreConnectionsThanOpenFiles) {
    machine_.descriptors_max = 20'000;
    EXPECT_THAT(machine_warnings(settings_, Purpose::check, machine_),
                ElementsAre(HasSubstr(
                    "/limits/connections: 100000 is over the limit of 20000 open files")));
    EXPECT_THAT(machine_warnings(settings_, Purpose::serve, machine_), IsEmpty());
    settings_.limits.connections = 20'000;
    EXPECT_THAT(machine_warnings(settings_, Purpose::check, machine_), IsEmpty());
}

TEST_F(MachineWarnings, ThisMachineHasRoot) {
    EXPECT_TRUE(Machine::here().has_user("root"));
    EXPECT_GT(Machine::here().descriptors_max, 0U);
}

} // namespace
} // namespace ringmx::config
