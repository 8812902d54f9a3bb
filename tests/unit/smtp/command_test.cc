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
    const auto mail = parse_mail("FROM:<a@b.c> BODY=8bitMIME  SIZE=0123 SMTPUTF8", {true, true});
    ASSERT_TRUE(mail);
    EXPECT_EQ(mail->reverse_path, "a@b.c");
    EXPECT_EQ(mail->declared_size_bytes, 123U);
    EXPECT_EQ(mail->body, BodyType::eight_bit_mime);
    EXPECT_TRUE(mail->smtputf8);
    EXPECT_EQ(parse_mail("FROM:<>", {true, true})->declared_size_bytes, std::nullopt);
    EXPECT_EQ(parse_mail("FROM:<>", {true, true})->body, BodyType::unstated);
    EXPECT_EQ(parse_mail("FROM:<> BODY=7bit", {true, true})->body, BodyType::seven_bit);
}

TEST(CommandTest, SizePast64BitsIsTheLargestNumber) {
    constexpr std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
    EXPECT_EQ(parse_mail("FROM:<> SIZE=18446744073709551614", {true, true})->declared_size_bytes,
              largest - 1);
    EXPECT_EQ(parse_mail("FROM:<> SIZE=18446744073709551616", {true, true})->declared_size_bytes,
              largest);
    EXPECT_EQ(parse_mail("FROM:<> SIZE=99999999999999999999", {true, true})->declared_size_bytes,
              largest);
    EXPECT_EQ(parse_mail("FROM:<> SIZE=100000000000000000000", {true, true}).error().code, 501);
}

TEST(CommandTest, ReportParametersOfMail) {
    const auto mail = parse_mail("FROM:<a@b.c> ret=Hdrs EnvId=QQ+2B1", {false, true});
    ASSERT_TRUE(mail);
    EXPECT_EQ(mail->return_content, ReturnContent::headers);
    EXPECT_EQ(mail->envelope_id, "QQ+2B1");
    const auto plain = parse_mail("FROM:<> RET=FULL", {false, true});
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->return_content, ReturnContent::full);
    EXPECT_TRUE(plain->envelope_id.empty());
    EXPECT_EQ(parse_mail("FROM:<>", {false, true})->return_content, ReturnContent::unstated);
    for (const char* bad : {"RET", "RET=", "RET=HDR", "RET=FULL RET=FULL", "ENVID",
                            "ENVID=", "ENVID=a+2b", "ENVID=a=b", "ENVID=a ENVID=a"}) {
        const auto refused = parse_mail(std::string("FROM:<> ") + bad, {true, true});
        EXPECT_TRUE(!refused && refused.error().code == 501) << bad;
    }
}

TEST(CommandTest, ReportParametersOfRecipients) {
    std::string argument; // what was read points into it
    const auto read = [&argument](const std::string& parameters, bool has_smtputf8 = false) {
        argument = "TO:<a@b.c> " + parameters;
        return parse_recipient(argument, {has_smtputf8, true});
    };
    EXPECT_EQ(read("")->parameters.notify, 0);
    EXPECT_EQ(read("NOTIFY=never")->parameters.notify, notify_never);
    EXPECT_EQ(read("Notify=DELAY,success,Failure")->parameters.notify,
              notify_success | notify_failure | notify_delay);
    EXPECT_EQ(read("NOTIFY=FAILURE,FAILURE")->parameters.notify, notify_failure);
    const auto both = read("ORCPT=rfc822;A+2B@b.c \t NOTIFY=SUCCESS");
    ASSERT_TRUE(both);
    EXPECT_EQ(both->parameters.original_recipient, "rfc822;A+2B@b.c");
    EXPECT_EQ(both->parameters.notify, notify_success);
    EXPECT_TRUE(read("ORCPT=utf-8;\xc3\xbc", true));
    for (const char* bad :
         {"NOTIFY", "NOTIFY=", "NOTIFY=ALWAYS", "NOTIFY=NEVER,SUCCESS", "NOTIFY=SUCCESS,NEVER",
          "NOTIFY=SUCCESS,", "NOTIFY=,SUCCESS", "NOTIFY=SUCCESS,,DELAY",
          "NOTIFY=NEVER NOTIFY=NEVER", "NOTIFY=DELAY NOTIFY=SUCCESS", "ORCPT",
          "ORCPT=", "ORCPT=rfc822", "ORCPT=rfc822;a+2b", "ORCPT=utf-8;\xc3\xbc",
          "ORCPT=rfc822;a ORCPT=rfc822;a"}) {
        const auto refused = read(bad);
        EXPECT_TRUE(!refused && refused.error().code == 501) << bad;
    }
}

TEST(CommandTest, ReportParametersAreUnknownWhereDsnIsNotOffered) {
    EXPECT_EQ(parse_mail("FROM:<> RET=FULL", {true, false}).error().code, 555);
    EXPECT_EQ(parse_mail("FROM:<> ENVID=a", {true, false}).error().code, 555);
    EXPECT_EQ(parse_recipient("TO:<a@b.c> NOTIFY=NEVER", {true, false}).error().code, 555);
    EXPECT_EQ(parse_recipient("TO:<a@b.c> ORCPT=rfc822;a", {true, false}).error().code, 555);
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
