#include "smtp/command.h"

#include <gtest/gtest.h>
#include <limits>
#include <string>

namespace ringmx::smtp {
namespace {

TEST(CommandTest, VerbAndArgumentAreSplitAtBlanks) {
    const auto command = parse_command("mAiL \t FROM:<> SIZE=1 \t");
    ASSERT_TRUE(command);
    EXPECT_EQ(command->verb, Verb::mail);
    EXPECT_EQ(command->argument, "FROM:<> SIZE=1");
    EXPECT_EQ(parse_command("StartTLS")->verb, Verb::starttls);
    EXPECT_TRUE(parse_command("NOOP")->argument.empty());
}

TEST(CommandTest, WhatIsNoVerbIsNone) {
    for (const char* line : {"", " NOOP", "NOO", "NOOPX", "NOOP:", "MAILFROM:<>", "\xff"}) {
        EXPECT_FALSE(parse_command(line)) << line;
    }
}

TEST(CommandTest, ControlsSpoilALineButTabDoesNot) {
    for (int octet = 0; octet < 256; ++octet) {
        const std::string line = std::string("NOOP a") + static_cast<char>(octet);
        const bool is_control = (octet < 0x20 && octet != '\t') || octet == 0x7f;
        EXPECT_EQ(parse_command(line).has_value(), !is_control) << octet;
    }
}

TEST(CommandTest, MailParametersAreRead) {
    const auto mail = parse_mail("FROM:<a@b.c> BODY=8bitMIME  SIZE=0123 SMTPUTF8", true);
    ASSERT_TRUE(mail);
    EXPECT_EQ(mail->reverse_path, "a@b.c");
    EXPECT_EQ(mail->declared_size_bytes, 123U);
    EXPECT_EQ(mail->body, BodyType::eight_bit_mime);
    EXPECT_TRUE(mail->smtputf8);
    EXPECT_EQ(parse_mail("FROM:<>", true)->declared_size_bytes, std::nullopt);
    EXPECT_EQ(parse_mail("FROM:<>", true)->body, BodyType::unstated);
    EXPECT_EQ(parse_mail("FROM:<> BODY=7bit", true)->body, BodyType::seven_bit);
}

TEST(CommandTest, SizePast64BitsIsTheLargestNumber) {
    constexpr std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
    EXPECT_EQ(parse_mail("FROM:<> SIZE=18446744073709551614", true)->declared_size_bytes,
              largest - 1);
    EXPECT_EQ(parse_mail("FROM:<> SIZE=18446744073709551616", true)->declared_size_bytes, largest);
    EXPECT_EQ(parse_mail("FROM:<> SIZE=99999999999999999999", true)->declared_size_bytes, largest);
    EXPECT_EQ(parse_mail("FROM:<> SIZE=100000000000000000000", true).error().code, 501);
}

TEST(CommandTest, ChunkSizes) {
    EXPECT_EQ(parse_chunk("10")->size_bytes, 10U);
    EXPECT_FALSE(parse_chunk("10")->is_last);
    EXPECT_TRUE(parse_chunk("0 \t LaSt")->is_last);
    EXPECT_TRUE(parse_chunk("1 LAST LAST")->has_bad_keyword);
    for (const char* bad : {"", "LAST", "-1", "+1", "0x1", "1,", "18446744073709551615",
                            "18446744073709551616", "000000000000000000001"}) {
        EXPECT_FALSE(parse_chunk(bad)) << bad;
    }
}

} // namespace
} // namespace ringmx::smtp
