#include "smtp/proxy_header.h"

#include "base/crc32c.h"
#include "unit/smtp/splits.h"

#include <gtest/gtest.h>

namespace ringmx::smtp {
namespace {

using namespace std::string_literals;

struct Outcome {
    ProxyResult result = ProxyResult::need_more;
    std::string rest; // octets behind the header
    bool has_addresses = false;
    std::string source;
    std::string destination;
};

Outcome feed(const test::Pieces& pieces) {
    ProxyHeader header;
    Outcome outcome;
    for (const std::string_view piece : pieces) {
        if (outcome.result != ProxyResult::need_more) {
            outcome.rest += outcome.result == ProxyResult::done ? piece : "";
            continue;
        }
        const auto step = header.receive(as_bytes(piece));
        outcome.result = step.result;
        outcome.rest += piece.substr(step.consumed);
        outcome.has_addresses = step.has_addresses;
        if (step.has_addresses) {
            outcome.source = step.source.text();
            outcome.destination = step.destination.text();
        }
    }
    return outcome;
}

void expect_addresses(const std::string& header, std::string_view source,
                      std::string_view destination) {
    const std::string wire = header + "EHLO x\r\n";
    for (const test::Pieces& pieces : test::every_split(wire)) {
        const Outcome outcome = feed(pieces);
        ASSERT_EQ(outcome.result, ProxyResult::done) << ::testing::PrintToString(pieces);
        ASSERT_EQ(outcome.rest, "EHLO x\r\n");
        ASSERT_TRUE(outcome.has_addresses);
        ASSERT_EQ(outcome.source, source);
        ASSERT_EQ(outcome.destination, destination);
    }
}

void expect_none(const std::string& header) {
    const std::string wire = header + "EHLO x\r\n";
    for (const test::Pieces& pieces : test::every_split(wire)) {
        const Outcome outcome = feed(pieces);
        ASSERT_EQ(outcome.result, ProxyResult::done) << ::testing::PrintToString(pieces);
        ASSERT_EQ(outcome.rest, "EHLO x\r\n");
        ASSERT_FALSE(outcome.has_addresses);
    }
}

void expect_malformed(const std::string& header) {
    const std::string wire = header + "\r\nEHLO x\r\n";
    for (const test::Pieces& pieces : test::every_split(wire)) {
        ASSERT_EQ(feed(pieces).result, ProxyResult::malformed) << ::testing::PrintToString(pieces);
    }
}

std::string u16(std::size_t value) {
    return {static_cast<char>(value >> 8), static_cast<char>(value & 0xFF)};
}

std::string version_2(int command, int family, const std::string& block) {
    return "\r\n\r\n\0\r\nQUIT\n"s + static_cast<char>(command) + static_cast<char>(family) +
           u16(block.size()) + block;
}

std::string tlv(int type, const std::string& value) {
    return static_cast<char>(type) + u16(value.size()) + value;
}

const std::string inet = "\xC0\x00\x02\x01\xC6\x33\x64\x02\x30\x39\x00\x19"s;

// ---- Version 1 ----

TEST(ProxyHeader, Version1GivesAddresses) {
    expect_addresses("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\n", "192.0.2.1:12345",
                     "198.51.100.2:25");
    expect_addresses("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255:65535",
                     "0.0.0.0:0");
    expect_addresses("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1 25\r\n", "[2001:db8::1]:1",
                     "[2001:db8::2]:25");
}

TEST(ProxyHeader, Version1UnknownKeepsThePeersOwnAddress) {
    expect_none("PROXY UNKNOWN\r\n");
    expect_none("PROXY UNKNOWN ffff:f...f 65535 what ever\r\n");
    expect_none("PROXY UNKNOWN " + std::string(107 - 16, 'x') + "\r\n");
}

TEST(ProxyHeader, Version1LineOver107OctetsIsMalformedAtOnce) {
    const std::string line = "PROXY UNKNOWN " + std::string(107 - 14, 'x');
    ASSERT_EQ(line.size(), 107U);
    EXPECT_EQ(feed({line}).result, ProxyResult::malformed);
    EXPECT_EQ(feed({std::string_view(line).substr(0, 106)}).result, ProxyResult::need_more);
    expect_malformed(line);
}

TEST(ProxyHeader, Version1GrammarIsStrict) {
    for (const char* line : {
             "PROXY TCP4 192.0.2.1 198.51.100.2 12345",
             "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25 ",
             "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25 1",
             "PROXY TCP4  192.0.2.1 198.51.100.2 12345 25",
             "PROXY  TCP4 192.0.2.1 198.51.100.2 12345 25",
             "PROXY TCP4 192.0.2.1 198.51.100.2 12345  25",
             "PROXY TCP4 192.0.2.1\t198.51.100.2 12345 25",
             "PROXY TCP4 192.0.2.01 198.51.100.2 12345 25",
             "PROXY TCP4 192.0.2.256 198.51.100.2 12345 25",
             "PROXY TCP4 192.0.2 198.51.100.2 12345 25",
             "PROXY TCP4 192.0.2.1.1 198.51.100.2 12345 25",
             "PROXY TCP4 192.0.2. 198.51.100.2 12345 25",
             "PROXY TCP4 192.0.2.1 198.51.100.2 012345 25",
             "PROXY TCP4 192.0.2.1 198.51.100.2 65536 25",
             "PROXY TCP4 192.0.2.1 198.51.100.2 99999999999 25",
             "PROXY TCP4 192.0.2.1 198.51.100.2 -1 25",
             "PROXY TCP4 192.0.2.1 198.51.100.2 +1 25",
             "PROXY TCP4 192.0.2.1 198.51.100.2 1 ",
             "PROXY TCP4 2001:db8::1 2001:db8::2 1 25",
             "PROXY TCP6 192.0.2.1 198.51.100.2 1 25",
             "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25",
             "PROXY TCP6 2001:db8::1::2 ::1 1 25",
             "PROXY TCP6 2001:db8::12345 ::1 1 25",
             "PROXY TCP6 [::1] ::1 1 25",
             "PROXY TCP6 ::1%1 ::1 1 25",
             "PROXY TCP5 192.0.2.1 198.51.100.2 1 25",
             "PROXY UDP4 192.0.2.1 198.51.100.2 1 25",
             "PROXY tcp4 192.0.2.1 198.51.100.2 1 25",
             "PROXY UNKNOWNS",
             "PROXY UNKNOW",
             "PROXY ",
             "proxy TCP4 192.0.2.1 198.51.100.2 1 25",
             "PROXY\tTCP4 192.0.2.1 198.51.100.2 1 25",
             "PROXY TCP4 192.0.2.1 198.51.100.2 1 25\n",
             "PROXY UNKNOWN\n",
             "PROXY UNKNOWN\rx",
             "PROXY UNKNOWN\r",
             "EHLO x",
             "",
         }) {
        expect_malformed(line);
    }
    expect_malformed("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 25"s);
}

TEST(ProxyHeader, WhatIsNoHeaderIsMalformedAtItsFirstWrongOctet) {
    EXPECT_EQ(feed({"E"}).result, ProxyResult::malformed);
    EXPECT_EQ(feed({"PROXX"}).result, ProxyResult::malformed);
    EXPECT_EQ(feed({"\r\n\r\n\r"}).result, ProxyResult::malformed);
    EXPECT_EQ(feed({"PROXY"}).result, ProxyResult::need_more);
    EXPECT_EQ(feed({""}).result, ProxyResult::need_more);
}

// ---- Version 2 ----

TEST(ProxyHeader, Version2GivesAddresses) {
    expect_addresses(version_2(0x21, 0x11, inet), "192.0.2.1:12345", "198.51.100.2:25");
    const std::string six = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01"s +
                            "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x02\xFF\xFF\x00\x19"s;
    expect_addresses(version_2(0x21, 0x21, six), "[2001:db8::1]:65535", "[2001:db8::2]:25");
    const std::string full(108, 'p');
    expect_addresses(version_2(0x21, 0x31, "/a" + std::string(106, '\0') + full), "unix:/a",
                     "unix:" + full);
}

TEST(ProxyHeader, Version2SkipsOtherTlvs) {
    const std::string tlvs = tlv(0x04, "") + tlv(0x01, "smtp") + tlv(0xE0, std::string(300, '\0'));
    expect_addresses(version_2(0x21, 0x11, inet + tlvs), "192.0.2.1:12345", "198.51.100.2:25");
}

TEST(ProxyHeader, LocalAndUnspecifiedKeepThePeersOwnAddress) {
    expect_none(version_2(0x20, 0x00, ""));
    expect_none(version_2(0x20, 0x11, inet));
    expect_none(version_2(0x20, 0x77, "what ever"));
    expect_none(version_2(0x20, 0x11, "short"));
    expect_none(version_2(0x20, 0x00, tlv(4, "pad")));
    expect_none(version_2(0x21, 0x00, ""));
    expect_none(version_2(0x21, 0x00, "not a TLV"));
}

TEST(ProxyHeader, Version2RefusesOtherCommandsVersionsAndFamilies) {
    for (const int command : {0x22, 0x2F, 0x11, 0x31, 0x01, 0x00}) {
        expect_malformed(version_2(command, 0x11, inet));
    }
    for (const int family : {0x12, 0x22, 0x32, 0x10, 0x01, 0x13, 0x41, 0xF1}) {
        expect_malformed(version_2(0x21, family, inet + std::string(300, '\0')));
    }
}

TEST(ProxyHeader, Version2BlockMustFit) {
    expect_malformed(version_2(0x21, 0x11, inet.substr(0, 11)));
    expect_malformed(version_2(0x21, 0x21, inet));
    expect_malformed(version_2(0x21, 0x31, std::string(215, 'x')));
    expect_malformed(version_2(0x21, 0x11, inet + "\x04"));
    expect_malformed(version_2(0x21, 0x11, inet + "\x04\x00"s));
    expect_malformed(version_2(0x21, 0x11, inet + "\x04\x00\x02z"s));
    expect_malformed(version_2(0x21, 0x11, inet + tlv(0x04, "ok") + "\x04\xFF\xFF"s));
}

TEST(ProxyHeader, Version2BlockOverTheBoundIsMalformedBeforeItComes) {
    const std::string over = version_2(0x21, 0x11, std::string(proxy_v2_block_bytes_max + 1, 'x'));
    EXPECT_EQ(feed({std::string_view(over).substr(0, 16)}).result, ProxyResult::malformed);
    const std::string padding(proxy_v2_block_bytes_max - inet.size() - 3, '\0');
    const std::string most = version_2(0x21, 0x11, inet + tlv(0x04, padding));
    EXPECT_EQ(feed({most}).result, ProxyResult::done);
}

TEST(ProxyHeader, ChecksumIsChecked) {
    for (const bool local : {false, true}) {
        std::string header =
            version_2(local ? 0x20 : 0x21, 0x11, inet + tlv(0x03, "\0\0\0\0"s) + tlv(0x04, "pad"));
        const std::uint32_t crc = crc32c(0, as_bytes(header));
        const std::size_t at = 16 + inet.size() + 3;
        header.replace(at, 4, u16(crc >> 16) + u16(crc & 0xFFFF));
        EXPECT_EQ(feed({header}).result, ProxyResult::done);
        EXPECT_EQ(feed({header}).has_addresses, !local);
        for (std::size_t damaged = 16; damaged < header.size(); ++damaged) {
            std::string wrong = header;
            wrong[damaged] = static_cast<char>(wrong[damaged] ^ 1);
            const bool unreadable = damaged >= at - 3 && damaged < at; // the TLV's own head
            if (!unreadable && damaged < at + 4) {
                EXPECT_EQ(feed({wrong}).result, ProxyResult::malformed) << damaged;
            }
        }
    }
    const std::string tlvs = tlv(0x03, "\0\0\0\0"s);
    expect_malformed(version_2(0x21, 0x11, inet + tlvs));
    expect_malformed(version_2(0x21, 0x11, inet + tlv(0x03, "\0\0\0"s)));
    expect_malformed(version_2(0x21, 0x11, inet + tlvs + tlvs));
}

TEST(ProxyHeader, ServesAnotherConnectionAfterAVerdict) {
    ProxyHeader header;
    EXPECT_EQ(header.receive(as_bytes("PROXY X")).result, ProxyResult::need_more);
    EXPECT_EQ(header.receive(as_bytes("\r\n")).result, ProxyResult::malformed);
    EXPECT_EQ(header.receive(as_bytes("PROXY UNKNOWN\r\n")).result, ProxyResult::done);
    EXPECT_EQ(header.receive(as_bytes("PROXY UNKNOWN\r\n")).result, ProxyResult::done);
}

// ---- Writers ----

SocketAddress address(std::string_view text) {
    const auto parsed = SocketAddress::parse(text);
    EXPECT_TRUE(parsed) << text;
    return parsed.value_or(SocketAddress{});
}

TEST(ProxyHeaderWriter, WhatIsWrittenIsRead) {
    for (const auto& [source, destination] :
         {std::pair{"192.0.2.1:12345", "198.51.100.2:25"}, {"[2001:db8::1]:1", "[::1]:65535"}}) {
        std::string first;
        append_proxy_v1(first, address(source), address(destination));
        expect_addresses(first, source, destination);
        for (const ProxyChecksum checksum : {ProxyChecksum::no, ProxyChecksum::yes}) {
            std::string second;
            append_proxy_v2(second, address(source), address(destination), checksum);
            expect_addresses(second, source, destination);
        }
    }
    std::string paths;
    append_proxy_v2(paths, address("unix:/a"), address("unix:/b"), ProxyChecksum::yes);
    expect_addresses(paths, "unix:/a", "unix:/b");
}

TEST(ProxyHeaderWriter, Version1IsTheSpecifiedLine) {
    std::string wire;
    append_proxy_v1(wire, address("192.0.2.1:12345"), address("198.51.100.2:25"));
    EXPECT_EQ(wire, "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\n");
}

TEST(ProxyHeaderWriter, Version2IsTheSpecifiedBlock) {
    std::string wire = "before";
    append_proxy_v2(wire, address("192.0.2.1:12345"), address("198.51.100.2:25"),
                    ProxyChecksum::no);
    EXPECT_EQ(wire, "before" + version_2(0x21, 0x11, inet));
    wire.clear();
    append_proxy_v2_local(wire, ProxyChecksum::no);
    EXPECT_EQ(wire, version_2(0x20, 0x00, ""));
}

TEST(ProxyHeaderWriter, WrittenChecksumIsThatOfTheWholeHeader) {
    std::string wire = "before";
    append_proxy_v2_local(wire, ProxyChecksum::yes);
    std::string header = wire.substr(6);
    expect_none(header);
    const std::string stated = header.substr(header.size() - 4);
    header.replace(header.size() - 4, 4, 4, '\0');
    const std::uint32_t crc = crc32c_plain(0, as_bytes(header));
    EXPECT_EQ(stated, u16(crc >> 16) + u16(crc & 0xFFFF));
}

TEST(ProxyHeaderWriter, AddressesThatDoNotGoTogetherAreNotGiven) {
    std::string wire;
    append_proxy_v1(wire, address("192.0.2.1:1"), address("[::1]:25"));
    EXPECT_EQ(wire, "PROXY UNKNOWN\r\n");
    wire.clear();
    append_proxy_v1(wire, address("unix:/a"), address("unix:/b"));
    EXPECT_EQ(wire, "PROXY UNKNOWN\r\n");
    wire.clear();
    append_proxy_v2(wire, address("unix:/a"), address("192.0.2.1:1"), ProxyChecksum::no);
    expect_none(wire);
}

TEST(ProxyHeaderWriter, Version2MapsAnIpv4AddressBesideAnIpv6One) {
    std::string wire;
    append_proxy_v2(wire, address("192.0.2.1:1"), address("[::1]:25"), ProxyChecksum::no);
    expect_addresses(wire, "192.0.2.1:1", "[::1]:25");
}

} // namespace
} // namespace ringmx::smtp
