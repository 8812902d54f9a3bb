#include "load/message_source.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "load/generated_text.h"
#include "sink/message_reader.h"
#include "smtp/dot_stuffing.h"
#include "unit/smtp/allocation_count.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <unistd.h>

namespace ringmx::load {
namespace {

constexpr std::string_view run = "run7";

Options sized(std::uint64_t least, std::uint64_t most) {
    Options options;
    options.size = {least, most};
    return options;
}

std::unique_ptr<MessageSource> open(const Options& options, bool with_checksum = false) {
    auto source = MessageSource::open(options, run, with_checksum);
    EXPECT_TRUE(source) << (source ? "" : source.error().message());
    return source ? std::move(*source) : nullptr;
}

std::string joined(const std::vector<std::string_view>& pieces) {
    std::string text;
    for (const std::string_view piece : pieces) {
        text += piece;
    }
    return text;
}

std::string raw_of(const Message& message) { return message.header + joined(message.raw); }
std::string wire_of(const Message& message) { return message.header + joined(message.stuffed); }

std::string stuffed_plainly(std::string_view raw) {
    std::string wire;
    for (std::size_t at = 0; at < raw.size(); ++at) {
        if (raw[at] == '.' && (at == 0 || (at >= 2 && raw.substr(at - 2, 2) == "\r\n"))) {
            wire += '.';
        }
        wire += raw[at];
    }
    return wire;
}

// Everything that holds for any message; says what is wrong.
std::string fault_of(const Message& message) {
    const std::string raw = raw_of(message);
    if (message.octets != raw.size()) {
        return "octets";
    }
    if (!raw.starts_with("Message-ID: <" + message.id + ">\r\n")) {
        return "message-id first";
    }
    if (!raw.ends_with("\r\n")) {
        return "final line end";
    }
    if (wire_of(message) != stuffed_plainly(raw)) {
        return "stuffed form";
    }
    for (std::size_t at = 0; at < raw.size(); ++at) {
        const bool is_cr = raw[at] == '\r';
        const bool has_lf = at + 1 < raw.size() && raw[at + 1] == '\n';
        if (is_cr != has_lf) {
            return "bare CR or LF at " + std::to_string(at);
        }
    }
    return "";
}

// The least size that there is room for.
std::uint64_t size_min() {
    Message message;
    open(sized(1000, 1000))->make(sequence_max, message);
    return message.header.size() + 2;
}

TEST(MessageSource, EverySmallSizeIsExact) {
    Message message;
    const std::uint64_t least = size_min();
    // The source is opened anew for each, and its text made.
    for (std::uint64_t size = least; size < least + 200; ++size) {
        const auto source = open(sized(size, size));
        for (const std::uint64_t sequence :
             {0ULL, 1ULL, 9ULL, 10ULL, 123'456ULL, 1ULL * sequence_max}) {
            source->make(sequence, message);
            ASSERT_EQ(message.octets, size) << sequence;
            ASSERT_EQ(fault_of(message), "") << size << " " << sequence;
            ASSERT_TRUE(message.header.ends_with("\r\n\r\n"));
        }
    }
}

TEST(MessageSource, ASizeWithoutRoomForTheHeaderIsRefusedAndTheLeastIsNamed) {
    const std::uint64_t least = size_min();
    for (const std::uint64_t size : {std::uint64_t{1}, least - 1}) {
        const auto source = MessageSource::open(sized(size, 1'000'000), run, false);
        ASSERT_FALSE(source) << size;
        EXPECT_EQ(source.error().message(),
                  "--size: found " + std::to_string(size) + " octets, expected at least " +
                      std::to_string(least) + ": the header is part of the message");
    }
}

TEST(MessageSource, EverySizeOfARangeIsExactWhateverItsPlace) {
    const GeneratedText text(3);
    std::vector<std::string_view> raw;
    std::vector<std::string_view> stuffed;
    for (std::uint64_t bytes = 2; bytes < 20'000; bytes += 1 + bytes / 3000) {
        raw.clear();
        stuffed.clear();
        text.body(bytes, bytes * 0x9e3779b97f4a7c15, raw, stuffed);
        ASSERT_EQ(raw.size(), 1U);
        ASSERT_EQ(raw[0].size(), bytes);
        ASSERT_TRUE(raw[0].ends_with("\r\n"));
        ASSERT_NE(raw[0][0], '\n');
        ASSERT_EQ(joined(stuffed), stuffed_plainly(raw[0])) << bytes;
    }
}

TEST(MessageSource, LargeSizesAreExact) {
    constexpr std::uint64_t mib = 1024 * 1024;
    Message message;
    for (const std::uint64_t size : {mib - 70'000, mib - 1, mib, mib + 1, mib + 60, 2 * mib,
                                     2 * mib + 777, 10 * mib, 33 * mib + 5}) {
        const auto source = open(sized(size, size));
        for (std::uint64_t sequence = 0; sequence < 3; ++sequence) {
            source->make(sequence, message);
            ASSERT_EQ(message.octets, size);
            ASSERT_EQ(fault_of(message), "") << size;
            ASSERT_LE(message.raw.size(), GeneratedText::pieces_max(size));
        }
    }
}

TEST(MessageSource, BodiesAtTheTextsEndsAreExact) {
    const GeneratedText text(1);
    std::vector<std::string_view> raw;
    std::vector<std::string_view> stuffed;
    text.body(3 * text_bytes_min, 0, raw, stuffed); // its middle is the text, whole
    ASSERT_GE(raw.size(), 3U);
    const std::size_t whole = raw[1].size();
    for (std::uint64_t bytes = whole - 300; bytes < whole + 300; ++bytes) {
        raw.clear();
        stuffed.clear();
        text.body(bytes, bytes, raw, stuffed);
        std::uint64_t octets = 0;
        for (const std::string_view piece : raw) {
            octets += piece.size();
        }
        ASSERT_EQ(octets, bytes);
        ASSERT_TRUE(raw.back().ends_with("\r\n"));
        if (bytes % 100 == 0 || bytes == whole + 1) {
            ASSERT_EQ(joined(stuffed), stuffed_plainly(joined(raw))) << bytes;
        }
    }
}

TEST(MessageSource, AMessageOfGibibytesIsAListOfViewsOfTheSameMemory) {
    constexpr std::uint64_t size = 5ULL * 1024 * 1024 * 1024 + 3;
    const auto source = open(sized(size, size));
    Message message;
    source->make(9, message);
    EXPECT_EQ(message.octets, size);
    EXPECT_LE(message.raw.size(), 5U * 1024 + 3);
    EXPECT_EQ(message.raw.size(), message.stuffed.size());
    std::set<const char*> starts;
    for (const std::string_view piece : message.raw) {
        starts.insert(piece.data());
    }
    EXPECT_LE(starts.size(), 2U);
}

TEST(MessageSource, GeneratedTextLooksLikeMail) {
    const auto source = open(sized(512 * 1024, 512 * 1024));
    Message message;
    source->make(4, message);
    EXPECT_NE(
        message.header.find("\r\nFrom: <sender@load.example>\r\nTo: <user4-0@load.example>\r\n"
                            "Subject: "),
        std::string::npos)
        << message.header;
    EXPECT_NE(message.header.find("\r\nDate: "), std::string::npos);
    std::string body = joined(message.raw);
    std::size_t dots = 0;
    std::size_t double_dots = 0;
    std::size_t lines = 0;
    body.erase(0, body.find('\n') + 1); // the first line is cut
    for (std::size_t at = 0; at < body.size(); ++lines) {
        const std::size_t end = body.find("\r\n", at);
        ASSERT_NE(end, std::string::npos);
        const std::string line = body.substr(at, end - at);
        ASSERT_GE(line.size(), text_line_bytes_min) << line;
        ASSERT_LE(line.size(), text_line_bytes_max) << line;
        for (const char octet : line) {
            ASSERT_TRUE(octet >= ' ' && octet <= '~');
        }
        dots += line.starts_with('.') ? 1U : 0U;
        double_dots += line.starts_with("..") ? 1U : 0U;
        at = end + 2;
    }
    EXPECT_GT(dots, lines / 32);
    EXPECT_LT(dots, lines / 8);
    EXPECT_GT(double_dots, 0U);
}

TEST(MessageSource, ANullReversePathStillGivesAFromAddress) {
    Options options;
    options.from = "";
    Message message;
    open(options)->make(0, message);
    EXPECT_NE(message.header.find("\r\nFrom: <mailer-daemon@"), std::string::npos);
}

TEST(MessageSource, TheSeedAndTheNumberAloneMakeTheMessage) {
    Options options = sized(1024, 64 * 1024);
    options.recipients = {1, 50};
    const auto first = open(options);
    const auto second = open(options);
    options.seed = 2;
    const auto other = open(options);
    Message one;
    Message two;
    int different = 0;
    for (std::uint64_t sequence = 0; sequence < 50; ++sequence) {
        first->make(sequence, one);
        second->make(49 - sequence, two); // what came before does not matter
        second->make(sequence, two);
        ASSERT_EQ(joined(one.raw), joined(two.raw));
        ASSERT_EQ(one.octets, two.octets);
        ASSERT_EQ(one.recipients, two.recipients);
        ASSERT_EQ(one.id, "run7." + std::to_string(sequence) + "@ringmx-load");
        other->make(sequence, two);
        different += one.octets != two.octets && joined(one.raw) != joined(two.raw) ? 1 : 0;
    }
    EXPECT_GT(different, 45);
}

TEST(MessageSource, MessagesOfOneSizeHaveDifferentBodies) {
    const auto source = open(sized(4096, 4096));
    Message message;
    std::set<std::string> bodies;
    for (std::uint64_t sequence = 0; sequence < 100; ++sequence) {
        source->make(sequence, message);
        bodies.insert(joined(message.raw));
    }
    EXPECT_GT(bodies.size(), 80U);
}

// Feeds pieces of 1, 2, 3, … octets, and again from 1 when they pass `longest`.
void feed_in_cuts(sink::MessageReader& reader, std::string_view text, std::size_t longest) {
    std::size_t bytes = 1;
    while (!text.empty()) {
        reader.feed(as_bytes(text.substr(0, bytes)));
        text.remove_prefix(std::min(bytes, text.size()));
        bytes = bytes % longest + 1;
    }
}

void expect_read_as_sent(const Message& message) {
    const std::string raw = raw_of(message);
    const std::string wire = wire_of(message);
    for (const std::size_t longest : {1UL, 7UL, 300UL, 100'000UL}) {
        sink::MessageReader of_raw(true);
        feed_in_cuts(of_raw, raw, longest);
        of_raw.finish();

        sink::MessageReader of_wire(true);
        smtp::Unstuffer unstuffer;
        std::string_view left = wire;
        for (std::size_t bytes = 1; !left.empty(); bytes = bytes % longest + 1) {
            unstuffer.feed(as_bytes(left.substr(0, bytes)),
                           [&](Bytes part) { of_wire.feed(part); });
            left.remove_prefix(std::min(bytes, left.size()));
        }
        of_wire.finish();
        for (const sink::MessageReader* reader : {&of_raw, &of_wire}) {
            ASSERT_EQ(reader->message_id(), message.id);
            ASSERT_EQ(reader->octets(), message.octets);
            ASSERT_EQ(reader->checksum(), message.checksum);
        }
    }
}

TEST(MessageSource, TheSinkReadsWhatWasSent) {
    const auto source = open(sized(size_min(), 200'000), true);
    Message message;
    for (std::uint64_t sequence = 0; sequence < 20; ++sequence) {
        source->make(sequence, message);
        expect_read_as_sent(message);
    }
    const auto large = open(sized(3'000'000, 3'000'000), true);
    large->make(1, message);
    expect_read_as_sent(message);
}

TEST(MessageSource, TheChecksumIsMadeOnlyWhenAskedFor) {
    Message message;
    const auto source = open(sized(4096, 4096), true);
    source->make(1, message);
    EXPECT_EQ(message.checksum, crc32c(0, as_bytes(raw_of(message))));
    open(sized(4096, 4096), false)->make(1, message);
    EXPECT_EQ(message.checksum, 0U);
}

TEST(MessageSource, EachDoublingOfSizesIsAsLikely) {
    const auto source = open(sized(1024, 1024 * 1024 - 1)); // ten doublings
    Message message;
    std::array<int, 10> counts{};
    constexpr int messages = 10'000;
    for (std::uint64_t sequence = 0; sequence < messages; ++sequence) {
        source->make(sequence, message);
        ASSERT_GE(message.octets, 1024U);
        ASSERT_LT(message.octets, 1024U * 1024);
        ++counts[static_cast<std::size_t>(std::bit_width(message.octets)) - 11];
    }
    for (const int count : counts) { // the standard deviation is 30
        EXPECT_GT(count, messages / 10 - 120);
        EXPECT_LT(count, messages / 10 + 120);
    }
}

TEST(MessageSource, BothEndsOfASizeRangeAreReached) {
    const auto source = open(sized(1000, 1003));
    Message message;
    std::set<std::uint64_t> sizes;
    for (std::uint64_t sequence = 0; sequence < 100; ++sequence) {
        source->make(sequence, message);
        sizes.insert(message.octets);
    }
    EXPECT_EQ(sizes, (std::set<std::uint64_t>{1000, 1001, 1002, 1003}));
}

TEST(MessageSource, RecipientCountsCoverTheirRangeEvenly) {
    Options options;
    options.recipients = {3, 7};
    const auto source = open(options);
    Message message;
    std::array<int, 8> counts{};
    for (std::uint64_t sequence = 0; sequence < 1000; ++sequence) {
        source->make(sequence, message);
        ASSERT_GE(message.recipients, 3U);
        ASSERT_LE(message.recipients, 7U);
        ++counts[message.recipients];
    }
    for (std::size_t recipients = 3; recipients <= 7; ++recipients) {
        EXPECT_GT(counts[recipients], 140) << recipients;
    }
    options.recipients = {4, 4};
    open(options)->make(1, message);
    EXPECT_EQ(message.recipients, 4U);
}

TEST(MessageSource, ThePercentSignOfAPatternIsTheRecipientsNumber) {
    Options options;
    options.recipient = "u%@d%.example";
    const auto source = open(options);
    EXPECT_EQ(source->recipient(12, 0), "u12-0@d12-0.example");
    EXPECT_EQ(source->recipient(12, 31), "u12-31@d12-31.example");
    options.recipient = "%";
    EXPECT_EQ(open(options)->recipient(0, 1), "0-1");
    options.recipient = "postmaster@example.com";
    EXPECT_EQ(open(options)->recipient(3, 4), "postmaster@example.com");
}

TEST(MessageSource, ThereIsNoAllocationOnceAMessageWasMade) {
    if (!counts_allocations()) {
        GTEST_SKIP() << "a sanitizer's allocator is in place";
    }
    Options options = sized(size_min(), 20'000'000);
    options.recipients = {1, 100};
    const auto source = open(options);
    Message message;
    source->make(0, message);
    const std::size_t before = allocation_count().times;
    std::size_t octets = 0;
    for (std::uint64_t sequence = 1; sequence < 10'000'000'000'000;
         sequence = sequence * 5 / 4 + 1) {
        source->make(sequence, message);
        octets += source->recipient(sequence, message.recipients).size();
    }
    EXPECT_EQ(allocation_count().times, before);
    EXPECT_GT(octets, 0U);
}

class Corpus : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ringmx-corpus-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        options_.corpus = folder_;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
    void write(const std::string& name, std::string_view content) const {
        std::ofstream(path(name), std::ios::binary) << content;
    }
    // What is sent behind our Message-ID line when the corpus is this one file.
    [[nodiscard]] std::string sent_of(std::string_view content) const {
        write("only.eml", content);
        const auto source = open(options_, true);
        Message message;
        source->make(5, message);
        EXPECT_EQ(fault_of(message), "") << content;
        expect_read_as_sent(message);
        EXPECT_EQ(message.header, "Message-ID: <run7.5@ringmx-load>\r\n");
        return joined(message.raw);
    }
    [[nodiscard]] std::string error_of() const {
        const auto source = MessageSource::open(options_, run, false);
        return source ? "" : source.error().message();
    }

    std::string folder_;
    Options options_;
};

TEST_F(Corpus, LineEndsBecomeCrlfAndTheLastLineHasOne) {
    const std::string wire = "Subject: a\r\n\r\nb\r\n\r\nc\r\n";
    EXPECT_EQ(sent_of("Subject: a\n\nb\n\nc\n"), wire);
    EXPECT_EQ(sent_of("Subject: a\r\n\r\nb\r\n\r\nc\r\n"), wire);
    EXPECT_EQ(sent_of("Subject: a\n\nb\r\n\nc"), wire);
    EXPECT_EQ(sent_of("Subject: a\r\n\r\nb\r\n\r\nc\r"), wire);
    EXPECT_EQ(sent_of("Subject: a\r\r\n\r\nb\r\r\r\n\nc"), wire);
    EXPECT_EQ(sent_of("Subject: a\r\rb\r\rc"), wire);
}

TEST_F(Corpus, LeadingDotsAreStuffedInTheWireFormOnly) {
    EXPECT_EQ(sent_of("Subject: a\n\n.\n..\n.b\nc.\n"),
              "Subject: a\r\n\r\n.\r\n..\r\n.b\r\nc.\r\n");
    EXPECT_EQ(sent_of(".begins with one"), ".begins with one\r\n");
}

TEST_F(Corpus, AnEmptyFileIsAMailOfOneField) {
    EXPECT_EQ(sent_of(""), "");
    EXPECT_EQ(sent_of("\n"), "\r\n");
}

TEST_F(Corpus, AMessageIdOfItsOwnIsRenamed) {
    EXPECT_EQ(sent_of("Received: x\nMessage-ID: <a@b>\nTo: c\n\nMessage-ID: <in@body>\n"),
              "Received: x\r\nX-Original-Message-ID: <a@b>\r\nTo: c\r\n\r\n"
              "Message-ID: <in@body>\r\n");
    EXPECT_EQ(sent_of("message-id:\n\t<folded@b>\nTo: c\n\n"),
              "X-Original-Message-ID:\r\n\t<folded@b>\r\nTo: c\r\n\r\n");
    EXPECT_EQ(sent_of("MESSAGE-Id \t: <a@b>"), "X-Original-Message-ID \t: <a@b>\r\n");
    EXPECT_EQ(sent_of("Message-ID: <a@b>\nMessage-ID: <c@d>\n"),
              "X-Original-Message-ID: <a@b>\r\nX-Original-Message-ID: <c@d>\r\n");
    const std::string others =
        "Message-IDs: <a@b>\r\nX-Message-ID: c\r\nMessage-ID\r\nMessage-I\r\n";
    EXPECT_EQ(sent_of(others), others);
}

TEST_F(Corpus, ALeadingBlankDoesNotContinueOurField) {
    EXPECT_EQ(sent_of(" text\nMessage-ID: <a@b>\n"), "\r\n text\r\nMessage-ID: <a@b>\r\n");
    EXPECT_EQ(sent_of("\ttext\n"), "\r\n\ttext\r\n");
}

TEST_F(Corpus, EightBitOctetsAreKept) {
    std::string content = "Subject: a\n\n";
    for (int octet = 0; octet < 256; ++octet) {
        if (octet != '\r' && octet != '\n') {
            content += static_cast<char>(octet);
        }
    }
    EXPECT_EQ(sent_of(content), "Subject: a\r\n\r\n" + content.substr(12) + "\r\n");
}

TEST_F(Corpus, AFileLongerThanOneReadIsWhole) {
    std::string content = "Subject: long\r\n\r\n";
    while (content.size() < 1'000'000) {
        content += ".line " + std::to_string(content.size()) + "\r\n";
    }
    EXPECT_EQ(sent_of(content), content);
}

TEST_F(Corpus, FilesAreTakenInTheOrderOfTheirNamesAgainAndAgain) {
    write("b", "two");
    write("c", "three");
    write("a", "one");
    std::filesystem::create_directory(path("aa"));
    write("aa/nested", "no");
    const auto source = open(options_);
    Message message;
    std::string order;
    for (std::uint64_t sequence = 0; sequence < 7; ++sequence) {
        source->make(sequence, message);
        order += joined(message.raw);
    }
    EXPECT_EQ(order, "one\r\ntwo\r\nthree\r\none\r\ntwo\r\nthree\r\none\r\n");
}

TEST_F(Corpus, NothingIsAllocatedOnceAMessageWasMade) {
    if (!counts_allocations()) {
        GTEST_SKIP() << "a sanitizer's allocator is in place";
    }
    write("a", ".one");
    write("b", "");
    write("c", "three");
    const auto source = open(options_, true);
    Message message;
    source->make(0, message);
    const std::size_t before = allocation_count().times;
    for (std::uint64_t sequence = 0; sequence < 100; ++sequence) {
        source->make(sequence * 0x1234567890ab, message);
    }
    EXPECT_EQ(allocation_count().times, before);
}

TEST_F(Corpus, AnEmptyFolderIsAnError) {
    EXPECT_EQ(error_of(), "find a file in the corpus " + folder_);
    std::filesystem::create_directory(path("folder"));
    EXPECT_NE(error_of(), "");
}

TEST_F(Corpus, AFolderThatIsNotThereIsAnError) {
    options_.corpus = path("absent");
    EXPECT_EQ(error_of(), "read the corpus of " + path("absent") + ": No such file or directory");
}

TEST_F(Corpus, AFileThatCanNotBeReadIsNamed) {
    write("a", "fine");
    std::filesystem::create_symlink(path("nowhere"), path("b"));
    EXPECT_EQ(error_of(), "open " + path("b") + ": No such file or directory");
    std::filesystem::remove(path("b"));
    // A regular file that fails to be read even for root: address 0 is never mapped.
    std::filesystem::create_symlink("/proc/self/mem", path("c"));
    EXPECT_EQ(error_of(), "read " + path("c") + ": Input/output error");
}

TEST_F(Corpus, ALinkToAFileIsFollowed) {
    std::filesystem::create_directory(path("elsewhere"));
    write("elsewhere/mail", "linked");
    std::filesystem::create_symlink(path("elsewhere/mail"), path("link"));
    const auto source = open(options_);
    Message message;
    source->make(0, message);
    EXPECT_EQ(joined(message.raw), "linked\r\n");
}

} // namespace
} // namespace ringmx::load
