#include "load/record_stream.h"

#include "base/escape.h"
#include "record/record_file.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>
#include <unistd.h>
#include <utility>

namespace ringmx::load {
namespace {

template <typename Number> bool read_number(std::string_view word, int base, Number& number) {
    const char* const last = word.data() + word.size();
    const auto [end, status] = std::from_chars(word.data(), last, number, base);
    return !word.empty() && status == std::errc{} && end == last;
}

// Up to the next blank, which goes with it.
std::optional<std::string_view> take_word(std::string_view& line) {
    const std::size_t blank = line.find(' ');
    if (blank == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view word = line.substr(0, blank);
    line.remove_prefix(blank + 1);
    return word;
}

bool parse_record(std::string_view line, Record& record) {
    const auto id = take_word(line);
    const auto octets = take_word(line);
    if (!id || !octets || !read_number(*octets, 10, record.octets)) {
        return false;
    }
    record.id = *id == no_message_id ? std::string_view() : *id;
    const std::size_t blank = line.find(' ');
    const std::string_view checksum = line.substr(0, blank);
    record.is_acknowledged = blank == std::string_view::npos;
    return read_number(checksum, 16, record.checksum) &&
           (record.is_acknowledged || line.substr(blank + 1) == "unacknowledged");
}

// Whether a record's line without an end can't have been meant to be longer, but for the fourth
// word: what stands there counts then as acknowledged, which errs on the side of a fault.
bool is_whole(std::string_view line, const Record& record) {
    constexpr std::size_t checksum_digits = 8;
    return !record.is_acknowledged || line.size() - line.rfind(' ') - 1 == checksum_digits;
}

std::string expected_record(std::string_view line) {
    constexpr std::size_t shown_max = 80;
    std::string what = "found '";
    append_log_text(what, line.substr(0, shown_max));
    what += line.size() > shown_max ? "…'" : "'";
    return what + ", expected MESSAGE-ID OCTETS CRC32C";
}

} // namespace

RecordStream::RecordStream(std::string path) : path_(std::move(path)) {}

RecordStream::~RecordStream() {
    if (descriptor_ >= 0) {
        ::close(descriptor_);
    }
}

std::expected<void, std::string> RecordStream::open() {
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0 || ::fstat(descriptor_, &status_) != 0) {
        return std::unexpected(fmt::format("open {}: {}: give a record that --record wrote", path_,
                                           std::strerror(errno)));
    }
    return {};
}

std::expected<bool, std::string> RecordStream::next(Record& record) {
    std::size_t searched = begin_;
    for (;;) {
        const void* const found =
            end_ > searched ? std::memchr(text_.data() + searched, '\n', end_ - searched) : nullptr;
        if (found != nullptr) {
            const std::size_t line_end =
                static_cast<std::size_t>(static_cast<const char*>(found) - text_.data());
            const std::string_view line(text_.data() + begin_, line_end - begin_);
            begin_ = line_end + 1;
            ++line_number_;
            if (!parse_record(line, record)) {
                return std::unexpected(at_line(expected_record(line)));
            }
            return true;
        }
        const std::size_t held = end_ - begin_;
        const std::expected<bool, std::string> filled = fill();
        if (!filled) {
            return filled;
        }
        if (!*filled) {
            return take_rest(record);
        }
        searched = begin_ + held;
    }
}

std::expected<bool, std::string> RecordStream::fill() {
    text_.resize(read_bytes_max);
    const std::size_t held = end_ - begin_;
    std::memmove(text_.data(), text_.data() + begin_, held);
    begin_ = 0;
    end_ = held;
    if (held == text_.size()) {
        ++line_number_;
        return std::unexpected(at_line(expected_record(text_)));
    }
    ssize_t size = -1;
    do {
        size = ::read(descriptor_, text_.data() + held, text_.size() - held);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return std::unexpected(fmt::format("read {}: {}: give a record that --record wrote", path_,
                                           std::strerror(errno)));
    }
    end_ += static_cast<std::size_t>(size);
    return size > 0;
}

bool RecordStream::take_rest(Record& record) {
    if (begin_ == end_) {
        text_ = {};
        begin_ = end_ = 0;
        return false;
    }
    const std::string_view line(text_.data() + begin_, end_ - begin_);
    begin_ = end_;
    ++line_number_;
    is_torn_ = !parse_record(line, record) || !is_whole(line, record);
    return !is_torn_;
}

bool RecordStream::is_same_file(const RecordStream& other) const {
    return is_ordinary() && status_.st_dev == other.status_.st_dev &&
           status_.st_ino == other.status_.st_ino;
}

std::string RecordStream::at_line(std::string_view what) const {
    return fmt::format("{}:{}: {}", path_, line_number_, what);
}

} // namespace ringmx::load
