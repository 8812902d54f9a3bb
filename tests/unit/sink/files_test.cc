#include "record/record_file.h"
#include "sink/message_store.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <set>
#include <string>

namespace ringmx::sink {
namespace {

class SinkFiles : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ringmx-sink-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
    [[nodiscard]] std::string content(const std::string& name) const {
        std::ifstream file(path(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    [[nodiscard]] std::set<std::string> names() const {
        std::set<std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
            found.insert(entry.path().filename().string());
        }
        return found;
    }

    std::string folder_;
};

TEST_F(SinkFiles, TwoRecordFilesShareOneFileLineByLine) {
    auto first = RecordFile::open(path("record"));
    auto second = RecordFile::open(path("record"));
    ASSERT_TRUE(first && second);
    first->add("a@b", 1, 0xABC);
    second->add("c@d", 22, 0xFFFFFFFF);
    EXPECT_EQ(content("record"), "");
    EXPECT_TRUE(second->flush());
    EXPECT_TRUE(first->flush());
    EXPECT_FALSE(first->has_unwritten());
    EXPECT_EQ(content("record"), "c@d 22 ffffffff\na@b 1 00000abc\n");
}

TEST_F(SinkFiles, ARecordIsWrittenByItselfWhenItHasGathered) {
    auto record = RecordFile::open(path("record"));
    ASSERT_TRUE(record);
    const std::string id(1000, 'x');
    for (std::size_t bytes = 0; bytes < RecordFile::gathered_bytes_max; bytes += id.size()) {
        record->add(id, 1, 1);
    }
    EXPECT_GE(content("record").size(), RecordFile::gathered_bytes_max);
}

TEST_F(SinkFiles, ARecordThatCannotBeWrittenSaysSoOnce) {
    EXPECT_EQ(RecordFile::open(path("no/such")).error().operation, "open");
    auto full = RecordFile::open("/dev/full");
    ASSERT_TRUE(full);
    full->add("a", 1, 1);
    const auto written = full->flush();
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ENOSPC);
    EXPECT_TRUE(full->flush());
}

TEST_F(SinkFiles, AKeptMessageIsAPairAndADroppedOneIsNothing) {
    auto store = MessageStore::open(folder_, 3);
    ASSERT_TRUE(store);
    auto kept = store->begin();
    auto dropped = store->begin();
    ASSERT_TRUE(kept && dropped);
    const std::string octets = std::string(200'000, 'x') + std::string("\0\xff\r\n", 4);
    kept->append(as_bytes(octets));
    kept->append(as_bytes("."));
    dropped->append(as_bytes("lost"));
    *dropped = {};
    const auto name = store->keep(std::move(*kept), {});
    ASSERT_TRUE(name);
    EXPECT_EQ(*name, "03-0000000001");
    EXPECT_EQ(names(), (std::set<std::string>{"03-0000000001.eml", "03-0000000001.envelope"}));
    EXPECT_EQ(content("03-0000000001.eml"), octets + ".");
}

TEST_F(SinkFiles, SequencesFollowKeepingAndGoOnBehindAnEarlierRun) {
    for (const char* const expected : {"00-0000000001", "00-0000000003"}) {
        auto store = MessageStore::open(folder_, 0);
        ASSERT_TRUE(store);
        auto early = store->begin();
        auto late = store->begin();
        ASSERT_TRUE(early && late);
        EXPECT_EQ(store->keep(std::move(*late), {}).value(), expected);
        EXPECT_TRUE(store->keep(std::move(*early), {}));
    }
    EXPECT_EQ(names().size(), 8U);
}

TEST_F(SinkFiles, EnvelopesEscapeWhatJsonCannotHold) {
    const StoredEnvelope envelope{"a\"b@x", {"c@d", "\n@e"},          "h", true, true,
                                  false,    smtp::BodyType::seven_bit};
    EXPECT_EQ(envelope.json(),
              "{\"mail_from\": \"a\\\"b@x\", \"rcpt_to\": [\"c@d\", \"\\n@e\"], \"hello\": \"h\", "
              "\"lmtp\": true, \"chunking\": true, \"body\": \"7BIT\", \"smtputf8\": false}\n");
}

} // namespace
} // namespace ringmx::sink
