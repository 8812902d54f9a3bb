#include "sink/message_reader.h"

#include "base/crc32c.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::sink {
namespace {

struct Case {
    std::string before; // what stands before the field
    std::string field_and_rest;
    std::string id;
};

void feed(MessageReader& reader, const std::string& piece) {
    const std::vector<char> memory(piece.begin(), piece.end()); // so that a sanitizer sees its end
    reader.feed(as_bytes({memory.data(), memory.size()}));
}

// At every split into two, and octet by octet; the reader is used again for each.
void check(const Case& expected) {
    const std::string whole = expected.before + expected.field_and_rest;
    MessageReader reader(true);
    for (std::size_t cut = 0; cut <= whole.size() + 1; ++cut) {
        reader.reset();
        if (cut > whole.size()) {
            for (const char octet : whole) {
                feed(reader, std::string(1, octet));
            }
        } else {
            feed(reader, whole.substr(0, cut));
            feed(reader, whole.substr(cut));
        }
        reader.finish();
        ASSERT_EQ(reader.message_id(), expected.id) << whole << " cut at " << cut;
        ASSERT_EQ(reader.octets(), expected.field_and_rest.size()) << whole << " cut at " << cut;
        ASSERT_EQ(reader.checksum(), crc32c(0, as_bytes(expected.field_and_rest)))
            << whole << " cut at " << cut;
    }
}

TEST(MessageReader, CountsFromTheMessageIdLineOn) {
    check({"", "Message-ID: <r.1@ringmx-load>\r\nSubject: x\r\n\r\nbody\r\n", "r.1@ringmx-load"});
    check({"Received: from a\r\n\tby b\r\nMessage-IDs: no\r\n", "Message-ID: <a>\r\n\r\n", "a"});
}

TEST(MessageReader, TheFieldNamesCaseDoesNotMatterButItsOctetsCount) {
    check({"X: y\r\n", "mEsSaGe-Id:<a@b>\r\n\r\n", "a@b"});
}

TEST(MessageReader, AFoldedFieldIsOneField) {
    check({"", "Message-ID:\r\n <a@b>\r\n\r\n", "a@b"});
    check({"", "Message-ID: <a@\r\n\tb>\r\nTo: x\r\n", "a@???b"});
}

TEST(MessageReader, OnlyTheFirstFieldCounts) {
    check({"", "Message-ID: <a>\r\nMessage-ID: <b>\r\n\r\n", "a"});
}

TEST(MessageReader, AValueWithoutBracketsIsTakenTrimmed) {
    check({"", "Message-ID:  odd one \r\n\r\n", "odd?one"});
    check({"", "Message-ID: <open\r\n\r\n", "<open"});
    check({"", "Message-ID:\r\n\r\n", ""});
}

TEST(MessageReader, AnIdCanForgeNoLineAndNoField) {
    check({"", "Message-ID: <a 1 00000000\x01\xff>\r\n\r\n", "a?1?00000000??"});
}

TEST(MessageReader, AMessageThatEndsInsideTheFieldIsTakenAsItIs) {
    check({"", "Message-ID: <a>", "a"});
    check({"", "Message-ID: <a>\r\n", "a"});
    check({"", "Message-ID:", ""});
}

TEST(MessageReader, TheBodyAndFoldedLinesHoldNoFields) {
    check({"Subject: x\r\n\r\nMessage-ID: <a>\r\n", "", ""});
    check({"Subject: x\r\n Message-ID: <a>\r\n\r\n", "", ""});
    check({"\r\nMessage-ID: <a>\r\n", "", ""});
    check({"", "", ""});
    check({"Message-I", "", ""});
}

TEST(MessageReader, ALongIdIsCutAndStillCounted) {
    const std::string text = "Message-ID: " + std::string(5000, 'x') + "\r\n\r\nbody";
    MessageReader reader(true);
    feed(reader, text);
    reader.finish();
    EXPECT_EQ(reader.message_id().size(), MessageReader::id_bytes_max - 1); // less the blank
    EXPECT_EQ(reader.octets(), text.size());
    EXPECT_EQ(reader.checksum(), crc32c(0, as_bytes(text)));
}

TEST(MessageReader, ReckonsNoChecksumUnlessAsked) {
    MessageReader reader(false);
    feed(reader, "Message-ID: <a>\r\n\r\n");
    reader.finish();
    EXPECT_EQ(reader.message_id(), "a");
    EXPECT_EQ(reader.octets(), 19U);
    EXPECT_EQ(reader.checksum(), 0U);
}

} // namespace
} // namespace ringmx::sink
