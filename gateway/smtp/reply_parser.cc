#include "smtp/reply_parser.h"

#include <cstring>
#include <limits>

namespace ringmx::smtp {
namespace {

// Text buffers that a long reply made large are not kept for the short ones that follow.
constexpr std::size_t text_bytes_kept_max = 1024;

static_assert(ReplyParser::reply_bytes_max <= std::numeric_limits<std::uint16_t>::max(),
              "offsets into a reply have 16 bits");

constexpr bool is_digit(char octet) { return octet >= '0' && octet <= '9'; }

// One to three digits at `position`, which moves behind them (RFC 3463, 2); -1: none, or more than
// three.
int digits(std::string_view line, std::size_t& position) {
    int value = 0;
    std::size_t count = 0;
    for (; position < line.size() && is_digit(line[position]); ++position) {
        if (++count > 3) {
            return -1;
        }
        value = value * 10 + (line[position] - '0');
    }
    return count == 0 ? -1 : value;
}

// An enhanced status code of this class at the text's beginning; `length` includes the space behind
// it. Class 0: there is none.
EnhancedCode leading_enhanced(std::string_view text, unsigned severity, std::size_t& length) {
    if (severity == 3 || text.size() < 5 || text[0] != static_cast<char>('0' + severity) ||
        text[1] != '.') {
        return {};
    }
    std::size_t position = 2;
    const int subject = digits(text, position);
    if (subject < 0 || position == text.size() || text[position] != '.') {
        return {};
    }
    ++position;
    const int detail = digits(text, position);
    if (detail < 0 || (position < text.size() && text[position] != ' ')) {
        return {};
    }
    length = position < text.size() ? position + 1 : position;
    return {static_cast<std::uint8_t>(severity), static_cast<std::uint16_t>(subject),
            static_cast<std::uint16_t>(detail)};
}

} // namespace

ReplyParser::Step ReplyParser::parse(Bytes input) {
    if (is_malformed_) {
        return fail(0);
    }
    const std::string_view octets = as_text(input);
    std::size_t position = 0;
    while (position < octets.size()) {
        if (!is_open_) {
            begin();
        }
        const std::string_view rest = octets.substr(position);
        const auto* end = static_cast<const char*>(std::memchr(rest.data(), '\n', rest.size()));
        const std::size_t kept = text_.size() - line_start_;
        const std::size_t taken =
            end == nullptr ? rest.size() : static_cast<std::size_t>(end - rest.data()) + 1;
        if (kept + taken > line_bytes_max || reply_bytes_ + kept + taken > reply_bytes_max) {
            return fail(position);
        }
        position += taken;
        if (end == nullptr) {
            text_.append(rest);
            break;
        }
        reply_bytes_ = static_cast<std::uint16_t>(reply_bytes_ + kept + taken);
        Line line = Line::malformed;
        if (kept == 0) {
            line = finish_line(rest.substr(0, taken));
        } else {
            // Only a line that an input cut is put together first.
            text_.append(rest.substr(0, taken));
            line = finish_line(std::string_view(text_).substr(line_start_));
        }
        if (line == Line::malformed) {
            return fail(position);
        }
        if (line == Line::last) {
            is_open_ = false;
            reply_.text = text_;
            return {Outcome::reply, position};
        }
    }
    return {Outcome::need_input, position};
}

void ReplyParser::begin() {
    if (text_.capacity() > text_bytes_kept_max) {
        text_ = std::string();
    }
    text_.clear();
    reply_ = {};
    line_start_ = 0;
    reply_bytes_ = 0;
    is_open_ = true;
    has_line_ = false;
}

// Takes one line with its end, which may lie in text_ behind line_start_, and leaves its text at
// the end of text_.
ReplyParser::Line ReplyParser::finish_line(std::string_view line) {
    line.remove_suffix(1);
    if (line.ends_with('\r')) {
        line.remove_suffix(1);
    }
    if (line.size() < 3 || line[0] < '2' || line[0] > '5' || !is_digit(line[1]) ||
        !is_digit(line[2]) || (line.size() > 3 && line[3] != ' ' && line[3] != '-')) {
        return Line::malformed;
    }
    const auto code =
        static_cast<std::uint16_t>((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0'));
    if (has_line_ && code != reply_.code) {
        return Line::malformed;
    }
    const bool goes_on = line.size() > 3 && line[3] == '-';
    line.remove_prefix(line.size() > 3 ? 4 : 3);
    std::size_t enhanced_bytes = 0;
    const EnhancedCode enhanced = leading_enhanced(line, code / 100U, enhanced_bytes);
    line.remove_prefix(enhanced_bytes);
    if (reply_.enhanced.class_digit == 0) {
        reply_.enhanced = enhanced;
    }
    reply_.code = code;

    const std::size_t text_bytes = line.size();
    const std::size_t separator = has_line_ ? 1 : 0;
    const std::size_t raw_bytes = text_.size() - line_start_;
    if (raw_bytes == 0) {
        if (separator != 0) {
            text_ += '\n';
        }
        text_.append(line);
    } else {
        // The raw line is at least as long as separator and text: its place is used again.
        char* place = text_.data() + line_start_;
        std::memmove(place + separator, line.data(), text_bytes);
        if (separator != 0) {
            *place = '\n';
        }
        text_.resize(line_start_ + separator + text_bytes);
    }
    has_line_ = true;
    line_start_ = static_cast<std::uint16_t>(text_.size());
    return goes_on ? Line::goes_on : Line::last;
}

ReplyParser::Step ReplyParser::fail(std::size_t consumed) {
    is_malformed_ = true;
    is_open_ = false;
    text_ = std::string();
    reply_ = {};
    return {Outcome::malformed, consumed};
}

} // namespace ringmx::smtp
