#include "observe/log_record.h"

#include <gtest/gtest.h>
#include <set>
#include <string>

namespace ringmx::observe {
namespace {

LogRecord fresh() {
    LogRecord record;
    record.clear(LogEvent::accepted, LogLevel::info, WallTime(1s));
    return record;
}

TEST(LogRecord, KeepsWhatItWasGiven) {
    LogRecord record = fresh();
    record.id("A1").sender("a@b").size(12).recipients(2).duration(5ms).reply({250, 2, 0, 0, "Ok"});
    EXPECT_EQ(record.text(LogField::id), "A1");
    EXPECT_EQ(record.text(LogField::sender), "a@b");
    EXPECT_FALSE(record.has(LogField::recipient));
    EXPECT_EQ(record.size(), 12U);
    EXPECT_EQ(record.count(), LogRecord::no_number);
    EXPECT_EQ(record.duration(), Duration(5ms));
    EXPECT_EQ(record.reply().code, 250);
    EXPECT_EQ(record.reply().text, "Ok");
}

TEST(LogRecord, AnEmptyFieldIsSetAllTheSame) {
    LogRecord record = fresh();
    record.sender("");
    EXPECT_TRUE(record.has(LogField::sender));
    EXPECT_EQ(record.text(LogField::sender), "");
}

TEST(LogRecord, CutsAFieldAtItsBoundAndSaysSo) {
    LogRecord record = fresh();
    record.sender(std::string(LogRecord::field_bytes_max, 'a'));
    EXPECT_FALSE(record.is_cut(LogField::sender));
    record.recipient(std::string(LogRecord::field_bytes_max + 1, 'b'));
    EXPECT_TRUE(record.is_cut(LogField::recipient));
    EXPECT_EQ(record.text(LogField::recipient), std::string(LogRecord::field_bytes_max, 'b'));
}

// A reload's fault names a file, a value and what was expected.
TEST(LogRecord, ADetailTakesAllThatIsLeft) {
    LogRecord record = fresh();
    const std::string text(2 * LogRecord::field_bytes_max, 'd');
    record.detail(text);
    EXPECT_EQ(record.text(LogField::detail), text);
    EXPECT_FALSE(record.is_cut(LogField::detail));
    record = fresh();
    record.detail(std::string(LogRecord::record_bytes, 'd'));
    EXPECT_TRUE(record.is_cut(LogField::detail));
    EXPECT_GT(record.text(LogField::detail).size(), text.size());
}

TEST(LogRecord, NeverCutsInsideACharacter) {
    LogRecord record = fresh();
    std::string text(LogRecord::field_bytes_max - 1, 'a');
    record.sender(text + "\xE2\x82\xAC");
    EXPECT_TRUE(record.is_cut(LogField::sender));
    EXPECT_EQ(record.text(LogField::sender), text);
}

TEST(LogRecord, AllFieldsTogetherStayInsideTheRecord) {
    LogRecord record = fresh();
    const std::string text(1000, 'x');
    std::size_t total = 0;
    for (std::size_t index = 0; index < static_cast<std::size_t>(LogField::count_); ++index) {
        record.text(static_cast<LogField>(index), text);
    }
    for (std::size_t index = 0; index < static_cast<std::size_t>(LogField::count_); ++index) {
        total += record.text(static_cast<LogField>(index)).size();
        EXPECT_TRUE(record.is_cut(static_cast<LogField>(index)));
    }
    EXPECT_LT(total, LogRecord::record_bytes);
}

TEST(LogRecord, EveryEventHasItsOwnNameAndALevel) {
    std::set<std::string_view> names;
    for (std::size_t index = 0; index < static_cast<std::size_t>(LogEvent::count_); ++index) {
        const auto event = static_cast<LogEvent>(index);
        EXPECT_TRUE(names.insert(name_of(event)).second) << name_of(event);
        EXPECT_LE(default_level(event), LogLevel::error);
    }
}

} // namespace
} // namespace ringmx::observe
