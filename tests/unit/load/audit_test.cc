#include "load/audit.h"

#include "record/record_file.h"

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
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

std::string fault_of(const std::expected<Audit, std::string>& result) {
    return result ? "" : result.error();
}

class LoadAudit : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ringmx-audit-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
    std::string write(const std::string& name, std::string_view text) const {
        std::ofstream(path(name), std::ios::binary) << text;
        return path(name);
    }
    [[nodiscard]] std::expected<Audit, std::string>
    try_audit(std::string_view sent, const std::vector<std::string>& received) const {
        AuditOptions options{.sent = write("sent", sent), .received = {}};
        for (const std::string& text : received) {
            options.received.push_back(
                write(fmt::format("received{}", options.received.size() + 1), text));
        }
        return audit(options);
    }
    [[nodiscard]] Audit audited(std::string_view sent,
                                const std::vector<std::string>& received) const {
        const auto result = try_audit(sent, received);
        EXPECT_TRUE(result) << result.error();
        return result.value_or(Audit{});
    }

    std::string folder_;
};

TEST_F(LoadAudit, WhatCameAsItWasSentPassesInAnyOrderAndOverSeveralSinks) {
    const Audit result = audited("r.1@ringmx-load 100 0000000a\n"
                                 "r.2@ringmx-load 200 0000000b\n"
                                 "r.3@ringmx-load 300 ffffffff\n",
                                 {"r.3@ringmx-load 300 FFFFFFFF\nr.1@ringmx-load 100 a\n",
                                  "r.2@ringmx-load 200 0000000b\n"});
    EXPECT_TRUE(result.passed());
    EXPECT_EQ(result.acknowledged, 3U);
    EXPECT_EQ(result.unacknowledged, 0U);
    EXPECT_EQ(result.received, 3U);
    EXPECT_EQ(result.lost.count + result.corrupted.count + result.unsent.count, 0U);
    EXPECT_EQ(result.duplicates.count, 0U);
    EXPECT_THAT(result.notes, IsEmpty());
    EXPECT_THAT(result.text(), HasSubstr("\npassed: "));
}

TEST_F(LoadAudit, WhatBothProgramsWriteIsRead) {
    auto sent = RecordFile::open(path("sent"));
    auto received = RecordFile::open(path("received"));
    ASSERT_TRUE(sent && received);
    sent->add("r.1@ringmx-load", 4096, 0xABC);
    sent->add("r.2@ringmx-load", 4096, 0xDEF, false);
    received->add("r.1@ringmx-load", 4096, 0xABC);
    ASSERT_TRUE(sent->flush() && received->flush());
    const auto result = audit({.sent = path("sent"), .received = {path("received")}});
    ASSERT_TRUE(result) << result.error();
    EXPECT_TRUE(result->passed());
    EXPECT_EQ(result->acknowledged, 1U);
    EXPECT_EQ(result->unacknowledged, 1U);
}

TEST_F(LoadAudit, AnAcknowledgedMessageThatNobodyReceivedIsLost) {
    const Audit result = audited("a@x 1 1\nb@x 2 2\nc@x 3 3\n", {"b@x 2 2\n", ""});
    EXPECT_FALSE(result.passed());
    EXPECT_EQ(result.lost.count, 2U);
    EXPECT_THAT(result.lost.listed, ElementsAre("a@x", "c@x"));
    EXPECT_THAT(result.text(), HasSubstr("lost:\n  a@x\n  c@x\n"));
    EXPECT_THAT(result.text(), EndsWith("failed: 2 lost, 0 corrupted, 0 unsent\n"));
}

TEST_F(LoadAudit, OtherOctetsOrAnotherChecksumAreCorruption) {
    const Audit result = audited("a@x 1 1\nb@x 2 2\nc@x 3 3\n", {"a@x 2 1\nb@x 2 3\nc@x 3 3\n"});
    EXPECT_FALSE(result.passed());
    EXPECT_EQ(result.corrupted.count, 2U);
    EXPECT_THAT(result.corrupted.listed, ElementsAre("a@x", "b@x"));
    EXPECT_EQ(result.lost.count, 0U);
}

TEST_F(LoadAudit, ACorruptedCopyCountsThoughAnotherIsWhole) {
    const Audit result = audited("a@x 1 1\n", {"a@x 1 1\na@x 1 2\na@x 1 3\n"});
    EXPECT_FALSE(result.passed());
    EXPECT_EQ(result.corrupted.count, 1U);
    EXPECT_THAT(result.corrupted.listed, ElementsAre("a@x"));
    EXPECT_EQ(result.duplicates.count, 2U);
}

TEST_F(LoadAudit, AnUnacknowledgedMessageThatCameCorruptedIsCorruption) {
    EXPECT_EQ(audited("a@x 1 1 unacknowledged\n", {"a@x 1 2\n"}).corrupted.count, 1U);
}

TEST_F(LoadAudit, WhatWasNotSentIsFoundOnceHoweverOftenItCame) {
    const Audit result = audited("a@x 1 1\n", {"a@x 1 1\nz@x 9 9\nz@x 9 8\n"});
    EXPECT_FALSE(result.passed());
    EXPECT_EQ(result.unsent.count, 1U);
    EXPECT_THAT(result.unsent.listed, ElementsAre("z@x"));
    EXPECT_EQ(result.duplicates.count, 1U);
    EXPECT_EQ(result.corrupted.count, 0U);
    EXPECT_EQ(result.received, 2U);
}

TEST_F(LoadAudit, AMessageWithoutMessageIdWasNotSent) {
    const Audit result = audited("a@x 1 1\n", {"a@x 1 1\n- 0 00000000\n- 0 00000000\n"});
    EXPECT_EQ(result.unsent.count, 2U);
    EXPECT_EQ(result.duplicates.count, 0U);
    EXPECT_EQ(result.received, 3U);
    EXPECT_THAT(result.text(), HasSubstr("unsent:\n  (without a Message-ID)\n"));
}

TEST_F(LoadAudit, DuplicatesAreCountedAndAreNoFault) {
    const Audit result =
        audited("a@x 1 1\nb@x 2 2\n", {"a@x 1 1\na@x 1 1\nb@x 2 2\n", "a@x 1 1\n"});
    EXPECT_TRUE(result.passed());
    EXPECT_EQ(result.duplicates.count, 2U);
    EXPECT_THAT(result.duplicates.listed, ElementsAre("a@x"));
    EXPECT_EQ(result.received, 2U);
}

TEST_F(LoadAudit, AnUnacknowledgedMessageMayHaveComeOrNot) {
    const Audit result = audited("a@x 1 1\nb@x 2 2 unacknowledged\nc@x 3 3 unacknowledged\n",
                                 {"a@x 1 1\nc@x 3 3\n"});
    EXPECT_TRUE(result.passed());
    EXPECT_EQ(result.acknowledged, 1U);
    EXPECT_EQ(result.unacknowledged, 2U);
    EXPECT_EQ(result.received, 2U);
}

TEST_F(LoadAudit, ATornLineOfAReceivedRecordIsPassedOverWithANote) {
    // What is there of it may look whole.
    const Audit result = audited("a@x 1 1\n", {"a@x 1 1\na@x 1 1\n", "b@x 2 2"});
    EXPECT_TRUE(result.passed());
    EXPECT_EQ(result.acknowledged, 1U);
    EXPECT_EQ(result.duplicates.count, 1U);
    EXPECT_THAT(result.notes, ElementsAre(StartsWith(path("received2") + ": ")));
    EXPECT_THAT(result.text(),
                HasSubstr("note: " + path("received2") + ": the last line is not whole"));
}

TEST_F(LoadAudit, ATornSentRecordFailsForNobodyKnowsWhatFollowed) {
    for (const std::string_view rest :
         {"b", "b@x 2", "b@x 2 ", "b@x 2 0000000", "b@x 2 00000002 ", "b@x 2 00000002 unack"}) {
        const Audit result = audited("a@x 1 1\n" + std::string(rest), {"a@x 1 1\n"});
        EXPECT_FALSE(result.passed()) << rest;
        EXPECT_EQ(result.acknowledged, 1U) << rest;
        EXPECT_EQ(result.lost.count + result.unsent.count, 0U) << rest;
        EXPECT_THAT(result.text(), HasSubstr("failed: 0 lost, 0 corrupted, 0 unsent; the sent "
                                             "record's last line is not whole"));
    }
}

// A copy may lack the last line's end: what stood in it was lost in silence.
TEST_F(LoadAudit, AWholeLastLineCountsWithoutItsEnd) {
    const Audit lost = audited("a@x 1 1\nb@x 2 00000002", {"a@x 1 1\n"});
    EXPECT_FALSE(lost.passed());
    EXPECT_THAT(lost.lost.listed, ElementsAre("b@x"));
    const Audit whole = audited("a@x 1 1\nb@x 2 00000002", {"a@x 1 1\nb@x 2 00000002"});
    EXPECT_TRUE(whole.passed()) << whole.text();
    EXPECT_EQ(whole.acknowledged, 2U);
    EXPECT_THAT(whole.notes, IsEmpty());
    const Audit unacknowledged = audited("a@x 1 1\nb@x 2 2 unacknowledged", {"a@x 1 1\n"});
    EXPECT_TRUE(unacknowledged.passed());
    EXPECT_EQ(unacknowledged.unacknowledged, 1U);
}

TEST_F(LoadAudit, AMessageOfATornReceivedLineIsLost) {
    EXPECT_EQ(audited("a@x 1 1\n", {"a@x 1 1"}).lost.count, 1U);
}

TEST_F(LoadAudit, ALineThatIsNoRecordIsAFaultWithItsPlace) {
    for (const std::string_view line :
         {"", "a@x", "a@x 1", "a@x 1 ", "a@x  1 1", "a@x 1 1 ", "a@x 1 1 acknowledged", "a@x -1 1",
          "a@x 1x 1", "a@x 1 0x1", "a@x 1 g", "a@x 1 123456789", "a@x 1 1\r",
          "a@x 18446744073709551616 1", "a@x 1 1 unacknowledged unacknowledged"}) {
        const std::string text = fmt::format("b@x 2 2\n{}\n", line);
        EXPECT_THAT(fault_of(try_audit(text, {""})), StartsWith(path("sent") + ":2: found '"))
            << line;
        EXPECT_THAT(fault_of(try_audit("", {"", text})),
                    StartsWith(path("received2") + ":2: found '"))
            << line;
    }
}

TEST_F(LoadAudit, AFaultIsOneLineWhateverTheFileHolds) {
    const auto result = try_audit("\x1b[31m\x01\r" + std::string(1000, 'x') + "\n", {""});
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error(), HasSubstr(R"(\e[31m\x01\r)"));
    EXPECT_LT(result.error().size(), path("sent").size() + 200);
}

TEST_F(LoadAudit, ALineLongerThanTheBufferIsNoRecord) {
    const auto result = try_audit("a@x 1 1\n" + std::string(1'000'000, 'x'), {""});
    EXPECT_THAT(fault_of(result), StartsWith(path("sent") + ":2: found 'xxx"));
}

TEST_F(LoadAudit, AMessageIsOnceInASentRecordAndHasAnId) {
    EXPECT_THAT(fault_of(try_audit("a@x 1 1\nb@x 1 1\na@x 1 1\n", {""})),
                StartsWith(path("sent") + ":3: "));
    EXPECT_THAT(fault_of(try_audit(" 0 0\n", {""})), StartsWith(path("sent") + ":1: "));
}

TEST_F(LoadAudit, ARecordOfTheGeneratorIsNoReceivedOne) {
    EXPECT_THAT(fault_of(try_audit("a@x 1 1\n", {"a@x 1 1\nb@x 1 1 unacknowledged\n"})),
                StartsWith(path("received1") + ":2: found 'unacknowledged'"));
}

TEST_F(LoadAudit, AFileThatCantBeReadIsAFault) {
    const std::string sent = write("sent", "a@x 1 1\n");
    EXPECT_EQ(fault_of(audit({.sent = path("none"), .received = {sent}})),
              "open " + path("none") +
                  ": No such file or directory: give a record that --record wrote");
    EXPECT_EQ(fault_of(audit({.sent = sent, .received = {path("none")}})),
              "open " + path("none") +
                  ": No such file or directory: give a record that --record wrote");
    EXPECT_EQ(fault_of(audit({.sent = sent, .received = {folder_}})),
              "read " + folder_ + ": Is a directory: give a record that --record wrote");
}

TEST_F(LoadAudit, TheSameFileTwiceIsAFaultUnderAnyName) {
    const std::string sent = write("sent", "a@x 1 1\n");
    const std::string received = write("received", "a@x 1 1\n");
    std::filesystem::create_hard_link(received, path("other"));
    EXPECT_THAT(fault_of(audit({.sent = sent, .received = {sent}})), HasSubstr("given twice"));
    EXPECT_THAT(fault_of(audit({.sent = sent, .received = {received, path("other")}})),
                StartsWith(path("other") + ": "));
}

TEST_F(LoadAudit, TheSentRecordIsAnOrdinaryFile) {
    EXPECT_THAT(fault_of(audit({.sent = "/dev/null", .received = {write("r", "")}})),
                HasSubstr("ordinary file"));
    EXPECT_TRUE(audit({.sent = write("sent", ""), .received = {"/dev/null", "/dev/null"}}));
}

TEST_F(LoadAudit, EmptyRecordsPassAndTheNoteSaysWhatThatIsWorth) {
    const Audit result = audited("", {"", ""});
    EXPECT_TRUE(result.passed());
    EXPECT_EQ(result.acknowledged + result.received, 0U);
    EXPECT_THAT(result.notes, ElementsAre(HasSubstr("nothing was acknowledged")));
}

TEST_F(LoadAudit, AtMostSoManyOfAKindAreListed) {
    std::string sent;
    std::string received;
    for (int number = 0; number < 25; ++number) {
        sent += fmt::format("lost{}@x 1 1\nbad{}@x 1 1\ntwice{}@x 1 1\n", number, number, number);
        received +=
            fmt::format("bad{0}@x 1 2\nunsent{0}@x 1 1\ntwice{0}@x 1 1\ntwice{0}@x 1 1\n", number);
    }
    const Audit result = audited(sent, {received});
    for (const Audit::Kind* kind :
         {&result.lost, &result.corrupted, &result.unsent, &result.duplicates}) {
        EXPECT_EQ(kind->count, 25U);
        EXPECT_EQ(kind->listed.size(), Audit::listed_max);
    }
    EXPECT_EQ(result.lost.listed.front(), "lost0@x");
    EXPECT_EQ(result.duplicates.listed.back(), "twice19@x");
    EXPECT_THAT(result.text(), HasSubstr("  twice19@x\n  and more\n"));
}

TEST_F(LoadAudit, TheTextIsSafeForATerminal) {
    const Audit result = audited("", {"\x1b[31m@x 1 1\n"});
    EXPECT_THAT(result.text(), HasSubstr(R"(\e[31m@x)"));
    EXPECT_THAT(result.text(), Not(HasSubstr("\x1b")));
}

TEST_F(LoadAudit, RecordsAreReadRightWhereverTheirBuffersEnd) {
    // Lines of every length from 20 on, so that ends of lines and of buffers meet in every way.
    std::string sent;
    std::uint64_t messages = 0;
    while (sent.size() < 2'000'000) {
        const std::size_t padding = messages % 997;
        sent += fmt::format("{}.{}@x {} {:08x}\n", std::string(padding, 'p'), messages, padding,
                            messages);
        ++messages;
    }
    const Audit result = audited(sent, {sent});
    EXPECT_TRUE(result.passed()) << result.text();
    EXPECT_EQ(result.acknowledged, messages);
    EXPECT_EQ(result.received, messages);
    EXPECT_EQ(result.duplicates.count, 0U);
}

TEST_F(LoadAudit, AMillionMessagesAreTakenApart) {
    constexpr unsigned messages = 1'000'000;
    std::string sent;
    std::string first;
    std::string second;
    for (unsigned number = 0; number < messages; ++number) {
        const std::string line = fmt::format("run.{}@ringmx-load 4096 {:08x}\n", number, number);
        sent += line;
        if (number == 500'000) {
            continue;
        }
        (number % 2 == 0 ? first : second) += line;
    }
    first += "run.7@ringmx-load 4096 00000007\n";
    const Audit result = audited(sent, {first, second});
    EXPECT_EQ(result.acknowledged, messages);
    EXPECT_EQ(result.received, messages - 1);
    EXPECT_THAT(result.lost.listed, ElementsAre("run.500000@ringmx-load"));
    EXPECT_EQ(result.duplicates.count, 1U);
    EXPECT_EQ(result.corrupted.count + result.unsent.count, 0U);
}

} // namespace
} // namespace ringmx::load
