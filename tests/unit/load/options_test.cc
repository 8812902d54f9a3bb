#include "load/options.h"

#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ringmx::load {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

using Arguments = std::vector<std::string>;
using Parsed = std::expected<std::variant<Options, AuditOptions>, Ending>;

Parsed parse(const Arguments& arguments) {
    std::vector<const char*> words{"ringmx-load"};
    for (const std::string& argument : arguments) {
        words.push_back(argument.c_str());
    }
    return parse_options(static_cast<int>(words.size()), words.data());
}

// With a target in front.
Arguments to_sink(Arguments arguments) {
    arguments.insert(arguments.begin(), {"--to", "127.0.0.1:2525"});
    return arguments;
}

Options options_of(const Arguments& arguments) {
    const Parsed parsed = parse(arguments);
    EXPECT_TRUE(parsed) << parsed.error().text;
    if (!parsed || !std::holds_alternative<Options>(*parsed)) {
        ADD_FAILURE() << "no options";
        return {};
    }
    return std::get<Options>(*parsed);
}

Options options_to_sink(Arguments arguments) { return options_of(to_sink(std::move(arguments))); }

// The line of a fault, after it was seen to be one.
std::string fault_of(const Arguments& arguments) {
    const Parsed parsed = parse(arguments);
    if (parsed) {
        return "no fault";
    }
    const std::string& text = parsed.error().text;
    EXPECT_EQ(parsed.error().code, 2);
    EXPECT_THAT(text, StartsWith("ringmx-load: "));
    EXPECT_THAT(text, EndsWith(!arguments.empty() && arguments.front() == "audit"
                                   ? " (see ringmx-load audit --help)\n"
                                   : " (see ringmx-load --help)\n"));
    EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
    return text;
}

std::string fault_to_sink(Arguments arguments) { return fault_of(to_sink(std::move(arguments))); }

TEST(LoadOptions, DefaultsAreTenSecondsOverTenConnections) {
    const Options options = options_of({"--to", "127.0.0.1:2525"});
    EXPECT_EQ(options.to_text, "127.0.0.1:2525");
    EXPECT_EQ(options.to.text(), "127.0.0.1:2525");
    EXPECT_EQ(options.connections, 10U);
    EXPECT_EQ(options.messages, 0U);
    EXPECT_EQ(options.duration, 10s);
    EXPECT_FALSE(options.rate);
    EXPECT_EQ(options.arrivals, Arrivals::poisson);
    EXPECT_EQ(options.size.least, 4096U);
    EXPECT_EQ(options.size.most, 4096U);
    EXPECT_EQ(options.corpus, "");
    EXPECT_EQ(options.messages_per_connection, 0U);
    EXPECT_EQ(options.recipients.least, 1U);
    EXPECT_EQ(options.recipients.most, 1U);
    EXPECT_EQ(options.from, "sender@load.example");
    EXPECT_EQ(options.recipient, "user%@load.example");
    EXPECT_EQ(options.hello, "load.example");
    EXPECT_FALSE(options.pipelining || options.chunking || options.lmtp);
    EXPECT_EQ(options.workers, 1U);
    EXPECT_EQ(options.timeout, 5min);
    EXPECT_TRUE(options.sources.empty());
    EXPECT_EQ(options.proxy, ProxyVersion::none);
    EXPECT_EQ(options.proxy_clients.text(), "10.0.0.0/8");
    EXPECT_EQ(options.hostility, Hostility::none);
    EXPECT_EQ(options.json + options.html + options.record, "");
    EXPECT_TRUE(options.fail_if.empty());
    EXPECT_EQ(options.seed, 1U);
}

TEST(LoadOptions, EveryOptionIsTaken) {
    const Options options = options_of({"--to",
                                        "unix:/run/lmtp",
                                        "--connections",
                                        "20",
                                        "--messages",
                                        "1000",
                                        "--duration",
                                        "30s",
                                        "--rate",
                                        "50/1s",
                                        "--arrivals",
                                        "even",
                                        "--size",
                                        "1KiB-1MiB",
                                        "--messages-per-connection",
                                        "5",
                                        "--recipients",
                                        "2-30",
                                        "--from",
                                        "a@b",
                                        "--rcpt",
                                        "u%@c",
                                        "--hello",
                                        "[127.0.0.1]",
                                        "--timeout",
                                        "2s",
                                        "--workers",
                                        "3",
                                        "--proxy",
                                        "v2",
                                        "--proxy-clients",
                                        "2001:db8::/32",
                                        "--json",
                                        "j",
                                        "--html",
                                        "h",
                                        "--record",
                                        "r",
                                        "--fail-if",
                                        "p99>50ms",
                                        "--fail-if",
                                        "lost > 0",
                                        "--seed",
                                        "18446744073709551615",
                                        "--lmtp",
                                        "--pipelining",
                                        "--chunking"});
    EXPECT_TRUE(options.to.is_unix);
    EXPECT_EQ(options.to.text(), "unix:/run/lmtp");
    EXPECT_EQ(options.connections, 20U);
    EXPECT_EQ(options.messages, 1000U);
    EXPECT_EQ(options.duration, 30s);
    ASSERT_TRUE(options.rate);
    EXPECT_EQ(options.rate->from_per_second, 50);
    EXPECT_EQ(options.rate->to_per_second, 50);
    EXPECT_EQ(options.rate->ramp, Duration{0});
    EXPECT_EQ(options.arrivals, Arrivals::even);
    EXPECT_EQ(options.size.least, 1024U);
    EXPECT_EQ(options.size.most, 1024U * 1024);
    EXPECT_EQ(options.messages_per_connection, 5U);
    EXPECT_EQ(options.recipients.least, 2U);
    EXPECT_EQ(options.recipients.most, 30U);
    EXPECT_EQ(options.from, "a@b");
    EXPECT_EQ(options.recipient, "u%@c");
    EXPECT_EQ(options.hello, "[127.0.0.1]");
    EXPECT_EQ(options.timeout, 2s);
    EXPECT_EQ(options.workers, 3U);
    EXPECT_EQ(options.proxy, ProxyVersion::v2);
    EXPECT_EQ(options.proxy_clients.text(), "2001:db8::/32");
    EXPECT_EQ(options.json, "j");
    EXPECT_EQ(options.html, "h");
    EXPECT_EQ(options.record, "r");
    ASSERT_EQ(options.fail_if.size(), 2U);
    EXPECT_EQ(options.fail_if[0].text, "p99>50ms");
    EXPECT_EQ(options.fail_if[1].metric, Threshold::Metric::lost);
    EXPECT_EQ(options.seed, 18446744073709551615U);
    EXPECT_TRUE(options.pipelining && options.chunking && options.lmtp);
}

TEST(LoadOptions, MessagesAloneHaveNoTimeBound) {
    const Options options = options_to_sink({"--messages", "7"});
    EXPECT_EQ(options.messages, 7U);
    EXPECT_EQ(options.duration, Duration{0});
}

TEST(LoadOptions, ATargetIsAnAddressOrAName) {
    EXPECT_EQ(options_of({"--to", "[::1]:25"}).to.text(), "[::1]:25");
    EXPECT_EQ(options_of({"--to", "localhost:2525"}).to.text(), "127.0.0.1:2525");
    EXPECT_EQ(options_of({"--to", "localhost:2525"}).to_text, "localhost:2525");
    // No numeric form of ours: the resolver knows it without asking anybody.
    EXPECT_EQ(options_of({"--to", "127.1:2525"}).to.text(), "127.0.0.1:2525");
    EXPECT_EQ(options_of({"--to", "unix:/a:1"}).to.text(), "unix:/a:1");
}

TEST(LoadOptions, ATargetThatIsNoneIsAFault) {
    EXPECT_THAT(fault_of({}), HasSubstr("--to: is missing: give"));
    for (const char* text : {"", ":25", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "localhost:0",
                             "127.0.0.1:65536", "::1:25", "[::1]", "[127.0.0.1]:25", "[x]:25",
                             "unix:relative", "unix:", "a b:25", "host:2x", "host:-1"}) {
        EXPECT_THAT(fault_of({"--to", text}),
                    HasSubstr(fmt::format("--to: found '{}', expected HOST:PORT", text)));
    }
    // Too long for a name: refused without a question to a server.
    const std::string name(70, 'x');
    EXPECT_THAT(fault_of({"--to", name + ":25"}),
                HasSubstr("--to: '" + name + "' does not resolve ("));
}

TEST(LoadOptions, ARateMayHaveARamp) {
    const auto rate = options_to_sink({"--rate", "100-5000", "--ramp", "60s"}).rate;
    ASSERT_TRUE(rate);
    EXPECT_EQ(rate->from_per_second, 100);
    EXPECT_EQ(rate->to_per_second, 5000);
    EXPECT_EQ(rate->ramp, 60s);
    const auto falling = options_to_sink({"--rate", "30/1m-0.25", "--ramp", "1s"}).rate;
    ASSERT_TRUE(falling);
    EXPECT_EQ(falling->from_per_second, 0.5);
    EXPECT_EQ(falling->to_per_second, 0.25);
}

TEST(LoadOptions, ARampNeedsARangeAndARangeARamp) {
    EXPECT_THAT(fault_to_sink({"--rate", "100-5000"}),
                HasSubstr("--rate: found '100-5000', expected --ramp"));
    EXPECT_THAT(fault_to_sink({"--rate", "100", "--ramp", "1s"}),
                HasSubstr("--ramp: found '1s', expected a range"));
    EXPECT_THAT(fault_to_sink({"--ramp", "1s"}), HasSubstr("--ramp: found '1s', expected --rate"));
    EXPECT_THAT(fault_to_sink({"--arrivals", "even"}),
                HasSubstr("--arrivals: found 'even', expected --rate"));
}

TEST(LoadOptions, SourcesAreRepeatedOrSeparatedByCommas) {
    const Options options =
        options_to_sink({"--source", "127.0.0.0/8,127.1.2.3", "--source", "127.4.0.0/16"});
    ASSERT_EQ(options.sources.size(), 3U);
    EXPECT_EQ(options.sources[0].text(), "127.0.0.0/8");
    EXPECT_EQ(options.sources[1].text(), "127.1.2.3/32");
    EXPECT_EQ(options.sources[2].text(), "127.4.0.0/16");
}

TEST(LoadOptions, SourcesAreOfTheTargetsFamily) {
    EXPECT_THAT(fault_to_sink({"--source", "::1"}),
                HasSubstr("--source: found '::1', expected IPv4 addresses"));
    EXPECT_THAT(fault_of({"--to", "[::1]:25", "--source", "127.0.0.1"}),
                HasSubstr("--source: found '127.0.0.1', expected IPv6 addresses"));
    EXPECT_THAT(fault_of({"--to", "unix:/x", "--source", "127.0.0.1"}),
                HasSubstr("--source: found '127.0.0.1', expected a --to with an IP address"));
}

TEST(LoadOptions, HostileClientsAreOfOneKind) {
    EXPECT_EQ(options_to_sink({"--hostile", "abort"}).hostility, Hostility::abort);
    EXPECT_EQ(options_to_sink({"--hostile", "never-read"}).hostility, Hostility::never_read);
    EXPECT_EQ(options_to_sink({"--hostile", "reconnect"}).hostility, Hostility::reconnect);
    const Options drip = options_to_sink({"--drip", "10/500ms"});
    EXPECT_EQ(drip.hostility, Hostility::drip);
    EXPECT_EQ(drip.drip_octets, 10U);
    EXPECT_EQ(drip.drip_pause, 500ms);
    EXPECT_THAT(fault_to_sink({"--drip", "1/1s", "--hostile", "abort"}),
                HasSubstr("--hostile: found 'abort', expected no --drip"));
    EXPECT_NE(fault_to_sink({"--hostile", "abort", "--hostile", "reconnect"}), "no fault");
    EXPECT_NE(fault_to_sink({"--drip", "1/1s", "--drip", "2/1s"}), "no fault");
}

TEST(LoadOptions, TheNullSenderIsWrittenAsInSmtp) {
    EXPECT_EQ(options_to_sink({"--from", "<>"}).from, "");
    EXPECT_EQ(options_to_sink({"--from", ""}).from, "");
}

TEST(LoadOptions, AWorkerHasAConnectionAtLeast) {
    EXPECT_EQ(options_to_sink({"--workers", "8", "--connections", "3"}).workers, 3U);
}

TEST(LoadOptions, AFaultNamesOptionValueAndMend) {
    struct Case {
        const char* option;
        const char* value;
        const char* expected;
    };
    const Case cases[] = {
        {"--connections", "0", "a whole number from 1 to 1000000"},
        {"--connections", "1000001", "a whole number from 1 to 1000000"},
        {"--connections", "-1", "a whole number"},
        {"--connections", "many", "a whole number"},
        {"--connections", "", "a whole number"},
        {"--workers", "0", "a whole number from 1 to 1024"},
        {"--workers", "1025", "a whole number from 1 to 1024"},
        {"--messages", "0", "a whole number from 1 on"},
        {"--messages", "18446744073709551616", "a whole number from 1 on"},
        {"--messages-per-connection", "0", "a whole number from 1 on"},
        {"--duration", "0", "a time over 0 such as"},
        {"--duration", "10", "a time over 0 such as"},
        {"--timeout", "0s", "a time over 0 such as"},
        {"--rate", "0", "messages a second over 0"},
        {"--rate", "0/1s", "messages a second over 0"},
        {"--rate", "-5", "messages a second over 0"},
        {"--rate", "10-", "messages a second over 0"},
        {"--rate", "nan", "messages a second over 0"},
        {"--rate", "100000000", "messages a second over 0"},
        {"--arrivals", "odd", "--rate with it"},
        {"--size", "KiB", "a size from 1 to 1TiB"},
        {"--size", "0", "a size from 1 to 1TiB"},
        {"--size", "4kb", "a size from 1 to 1TiB"},
        {"--size", "2TiB", "a size from 1 to 1TiB"},
        {"--size", "1MiB-1KiB", "the smaller first"},
        {"--size", "1KiB-", "the smaller first"},
        {"--size", "1KiB-2KiB-3KiB", "the smaller first"},
        {"--recipients", "0", "a whole number from 1 to 100000"},
        {"--recipients", "0-5", "a whole number from 1 to 100000"},
        {"--recipients", "5-1", "the smaller first"},
        {"--recipients", "100001", "a whole number from 1 to 100000"},
        {"--from", "<a@b>", "without angle brackets"},
        {"--rcpt", "", "without angle brackets"},
        {"--rcpt", "<a@b>", "without angle brackets"},
        {"--hello", "a b", "a name without blanks"},
        {"--hello", "", "a name without blanks"},
        {"--source", "here", "an IP address or a network"},
        {"--source", "127.0.0.1/8", "an IP address or a network"},
        {"--proxy", "v3", "v1 or v2"},
        {"--proxy-clients", "10.0.0.0/8", "--proxy v1 or --proxy v2 with it"},
        {"--drip", "10", "such as 10/1s"},
        {"--drip", "0/1s", "such as 10/1s"},
        {"--drip", "10/0", "such as 10/1s"},
        {"--drip", "10/", "such as 10/1s"},
        {"--drip", "4GiB/1s", "such as 10/1s"},
        {"--hostile", "never", "abort or never-read or reconnect"},
        {"--json", "", "a path"},
        {"--html", "", "a path"},
        {"--record", "", "a path"},
        {"--fail-if", "p99>50", "a time such as"},
        {"--seed", "x", "a whole number from 0 on"},
        {"--tls", "starttls", ""},
        {"--corpus", "/no/such/folder", "a folder that can be read (No such file or directory)"},
        {"--corpus", "", "a path"},
    };
    for (const Case& each : cases) {
        const std::string fault = fault_to_sink({fmt::format("{}={}", each.option, each.value)});
        if (*each.value == '\0') { // CLI11 takes "--option=" for one without a value
            EXPECT_THAT(fault, HasSubstr(each.option));
            EXPECT_THAT(fault_to_sink({each.option, ""}), HasSubstr(each.expected));
            continue;
        }
        EXPECT_THAT(fault, HasSubstr(fmt::format("ringmx-load: {}: found '", each.option)));
        EXPECT_THAT(fault, HasSubstr(each.value));
        EXPECT_THAT(fault, HasSubstr(each.expected));
        EXPECT_EQ(fault_to_sink({each.option, each.value}), fault);
    }
}

TEST(LoadOptions, AFaultIsOneLineWhateverIsGiven) {
    EXPECT_THAT(fault_to_sink({"--rcpt", "a\r\nRSET"}), HasSubstr(R"(found 'a\r\nRSET')"));
    EXPECT_THAT(fault_to_sink({"--frob\nx"}), HasSubstr(R"(--frob\nx)"));
    EXPECT_THAT(fault_to_sink({"--frob"}), HasSubstr("--frob"));
    EXPECT_THAT(fault_to_sink({"word"}), HasSubstr("word"));
    EXPECT_THAT(fault_of({"--to"}), HasSubstr("--to"));
    EXPECT_THAT(fault_to_sink({"--to", "127.0.0.1:1"}), HasSubstr("--to"));
    EXPECT_THAT(fault_to_sink({"--fail-if", "a\nb>1"}), HasSubstr(R"(a\nb)"));
}

TEST(LoadOptions, TlsIsNotBuiltYet) {
    for (const char* mode : {"starttls", "implicit", "maybe"}) {
        EXPECT_THAT(fault_to_sink({"--tls", mode}), HasSubstr("not built yet; leave it out"));
    }
}

TEST(LoadOptions, ArrivalsAreOfTwoKinds) {
    EXPECT_EQ(options_to_sink({"--rate", "5", "--arrivals", "poisson"}).arrivals,
              Arrivals::poisson);
    EXPECT_THAT(fault_to_sink({"--rate", "5", "--arrivals", "odd"}),
                HasSubstr("--arrivals: found 'odd', expected poisson or even"));
}

TEST(LoadOptions, EachResultHasItsOwnFile) {
    EXPECT_THAT(fault_to_sink({"--json", "x", "--record", "x"}),
                HasSubstr("found 'x', expected another file for each"));
    EXPECT_EQ(options_to_sink({"--json", "/dev/null", "--html", "/dev/null"}).html, "/dev/null");
}

TEST(LoadOptions, ACorpusIsAFolderWithFilesInIt) {
    std::string folder = testing::TempDir() + "ringmx-corpus-XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    std::filesystem::create_directory(folder + "/inner");
    EXPECT_THAT(fault_to_sink({"--corpus", folder}), HasSubstr("a folder with mails in it"));
    std::ofstream(folder + "/mail") << "Subject: x\n\nx\n";
    EXPECT_EQ(options_to_sink({"--corpus", folder}).corpus, folder);
    EXPECT_THAT(fault_to_sink({"--corpus", folder, "--size", "4KiB"}),
                HasSubstr("--size: found '4KiB', expected no --corpus"));
    EXPECT_THAT(fault_to_sink({"--corpus", folder + "/mail"}), HasSubstr("Not a directory"));
    std::filesystem::remove_all(folder);
}

TEST(LoadOptions, AuditTakesOneSentAndSomeReceivedRecords) {
    const Parsed parsed = parse({"audit", "sent", "one", "two"});
    ASSERT_TRUE(parsed) << parsed.error().text;
    ASSERT_TRUE(std::holds_alternative<AuditOptions>(*parsed));
    const auto& options = std::get<AuditOptions>(*parsed);
    EXPECT_EQ(options.sent, "sent");
    EXPECT_THAT(options.received, ElementsAre("one", "two"));
}

TEST(LoadOptions, AuditWithoutFilesOrWithOtherOptionsIsAFault) {
    EXPECT_THAT(fault_of({"audit"}), HasSubstr("SENT"));
    EXPECT_THAT(fault_of({"audit", "sent"}), HasSubstr("RECEIVED"));
    EXPECT_NE(fault_of({"audit", "sent", "received", "--frob"}), "no fault");
    EXPECT_THAT(fault_to_sink({"audit", "sent", "received"}), HasSubstr("other options"));
    EXPECT_THAT(fault_of({"--lmtp", "audit", "sent", "received"}), HasSubstr("other options"));
}

TEST(LoadOptions, HelpAndVersionAreExit0) {
    const Parsed help = parse({"--help"});
    ASSERT_FALSE(help);
    EXPECT_EQ(help.error().code, 0);
    for (const char* option : {"--to",
                               "--connections",
                               "--messages",
                               "--duration",
                               "--rate",
                               "--ramp",
                               "--arrivals",
                               "--size",
                               "--corpus",
                               "--messages-per-connection",
                               "--recipients",
                               "--from",
                               "--rcpt",
                               "--hello",
                               "--timeout",
                               "--pipelining",
                               "--chunking",
                               "--tls",
                               "--lmtp",
                               "--workers",
                               "--source",
                               "--proxy",
                               "--proxy-clients",
                               "--drip",
                               "--hostile",
                               "--json",
                               "--html",
                               "--record",
                               "--fail-if",
                               "--seed",
                               "--version",
                               "audit"}) {
        EXPECT_THAT(help.error().text, HasSubstr(option));
    }
    EXPECT_EQ(parse({"audit", "--help"}).error().code, 0);
    EXPECT_THAT(parse({"audit", "--help"}).error().text, HasSubstr("RECEIVED"));
    EXPECT_EQ(parse({"--version"}).error().code, 0);
    EXPECT_THAT(parse({"--version"}).error().text, StartsWith("ringmx-load "));
}

} // namespace
} // namespace ringmx::load
