#include "smtp/header_scanner.h"

#include "unit/smtp/splits.h"

#include <gtest/gtest.h>

namespace ringmx::smtp {
namespace {

struct Outcome {
    std::uint32_t received = 0;
    bool starts_with_space = false;
    bool ended = false;
    bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& outcome, std::ostream* out) {
    *out << outcome.received << (outcome.starts_with_space ? " space" : "")
         << (outcome.ended ? " ended" : " open");
}

void expect(std::string_view content, ContentForm form, const Outcome& expected) {
    for (const test::Pieces& pieces : test::every_split(content)) {
        HeaderScanner scanner(form);
        for (const std::string_view piece : pieces) {
            scanner.scan(as_bytes(piece));
        }
        const Outcome outcome{scanner.received_fields_count(), scanner.starts_with_space(),
                              scanner.header_ended()};
        ASSERT_EQ(outcome, expected) << ::testing::PrintToString(pieces);
    }
}

void expect_both(std::string_view content, const Outcome& expected) {
    expect(content, ContentForm::raw, expected);
    expect(content, ContentForm::dot_stuffed, expected);
}

TEST(HeaderScanner, ReceivedFieldsAreCountedInAnyCase) {
    expect_both("Received: a\r\nSubject: b\r\nRECEIVED:c\r\nreceived:\r\n\r\n", {3, false, true});
}

TEST(HeaderScanner, BlanksBeforeTheColonAreAllowed) {
    expect_both("Received : a\r\nReceived\t \t: b\r\n\r\n", {2, false, true});
}

TEST(HeaderScanner, OtherNamesAreNotCounted) {
    expect_both(
        "Receive: a\r\nReceivedd: b\r\nX-Received: c\r\nReceived-SPF: d\r\nReceive d: x\r\n",
        {0, false, true});
    expect_both("rReceived: x\r\nRe\rceived: y\r\n", {0, false, true});
}

TEST(HeaderScanner, ContinuationIsNoField) {
    expect_both("Subject: a\r\n Received: b\r\n\tReceived: c\r\nReceived: d\r\n\r\n",
                {1, false, true});
}

TEST(HeaderScanner, BodyIsNotLookedAt) {
    expect_both("Received: a\r\n\r\nReceived: b\r\n", {1, false, true});
    expect_both("\r\nReceived: b\r\n", {0, false, true});
}

TEST(HeaderScanner, LineThatIsNoFieldEndsTheHeader) {
    expect_both("Received: a\r\nno colon here\r\nReceived: b\r\n", {1, false, true});
    expect_both("Received: a\r\nnocolon\r\nReceived: b\r\n", {1, false, true});
    expect_both("Received: a\r\n: empty name\r\nReceived: b\r\n", {1, false, true});
    expect_both("Received: a\r\nna\xC3\xA9: x\r\nReceived: b\r\n", {1, false, true});
    expect_both("Received: a\r\n\rReceived: b\r\nReceived: c\r\n", {1, false, true});
}

TEST(HeaderScanner, OpenHeaderIsOpen) {
    expect_both("Received: a\r\n", {1, false, false});
    expect_both("Received", {0, false, false});
    expect_both("", {0, false, false});
}

TEST(HeaderScanner, FirstOctetDecidesWhetherItStartsWithSpace) {
    expect_both(" Received: a\r\nReceived: b\r\n\r\n", {1, true, true});
    expect_both("\tx\r\n", {0, true, false});
    expect_both("A: b\r\n c\r\n\r\n", {0, false, true});
    expect_both("\r\n x", {0, false, true});
}

TEST(HeaderScanner, StuffedDotIsNoPartOfTheLine) {
    expect(".Received: a\r\n.Received: b\r\n\r\n", ContentForm::dot_stuffed, {2, false, true});
    expect(". x\r\n", ContentForm::dot_stuffed, {0, true, false});
    expect("..Received: a\r\n\r\n", ContentForm::dot_stuffed, {0, false, true});
    expect(".Received: a\r\n\r\n", ContentForm::raw, {0, false, true});
    expect(". x: y\r\n", ContentForm::raw, {0, false, true});
}

} // namespace
} // namespace ringmx::smtp
