#include "config/json_place.h"

#include "config/fault.h"

#include <algorithm>
#include <vector>

namespace ringmx::config {

namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// The octets of the UTF-8 character at the front (RFC 3629), 0 when it is none.
std::size_t character_bytes(std::string_view text) {
    const auto octet = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
    const unsigned lead = octet(0);
    if (lead < 0x80) {
        return 1;
    }
    const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < size) {
        return 0;
    }
    for (std::size_t index = 1; index < size; ++index) {
        if ((octet(index) & 0xc0U) != 0x80U) {
            return 0;
        }
    }
    const unsigned second = octet(1);
    const bool is_overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
    const bool is_beyond = (lead == 0xed && second > 0x9f) || (lead == 0xf4 && second > 0x8f);
    return is_overlong || is_beyond ? 0 : size;
}

// A pushdown reader: each step consumes or fails; `open_` holds the brackets that are open.
class Reader {
  public:
    explicit Reader(std::string_view json) : json_(json) {}

    // False at the first error, which stands at offset() with expected().
    bool read() {
        if (!value()) {
            return false;
        }
        while (!open_.empty()) {
            if (!after_value()) {
                return false;
            }
        }
        blanks();
        return at_end() || fail("the end of the file");
    }
    [[nodiscard]] std::size_t offset() const { return offset_; }
    [[nodiscard]] std::string_view expected() const { return expected_; }

  private:
    [[nodiscard]] bool at_end() const { return offset_ == json_.size(); }
    [[nodiscard]] char front() const { return at_end() ? '\0' : json_[offset_]; }
    bool fail(std::string_view expected) {
        expected_ = expected;
        return false;
    }
    void blanks() {
        while (!at_end() &&
               (front() == ' ' || front() == '\t' || front() == '\n' || front() == '\r')) {
            ++offset_;
        }
    }
    bool take(char c) {
        const bool is_there = !at_end() && front() == c;
        offset_ += is_there ? 1 : 0;
        return is_there;
    }

    // A scalar, an empty container, or the beginning of a container up to its first scalar.
    bool value() {
        while (true) {
            blanks();
            if (take('{')) {
                blanks();
                if (take('}')) {
                    return true;
                }
                if (!push('{') || !name("a name in double quotes or \"}\"")) {
                    return false;
                }
            } else if (take('[')) {
                blanks();
                if (take(']')) {
                    return true;
                }
                if (!push('[')) {
                    return false;
                }
            } else {
                return scalar();
            }
        }
    }
    bool push(char bracket) {
        open_.push_back(bracket);
        return open_.size() < json_depth_max || fail("less nesting");
    }
    bool name(std::string_view expected) {
        blanks();
        if (front() != '"') {
            return fail(expected);
        }
        if (!string()) {
            return false;
        }
        blanks();
        return take(':') || fail("\":\"");
    }
    bool after_value() {
        blanks();
        const bool is_object = open_.back() == '{';
        if (take(is_object ? '}' : ']')) {
            open_.pop_back();
            return true;
        }
        if (!take(',')) {
            return fail(is_object ? "\",\" or \"}\"" : "\",\" or \"]\"");
        }
        return (!is_object || name("a name in double quotes")) && value();
    }
    bool scalar() {
        if (front() == '"') {
            return string();
        }
        if (front() == '-' || is_digit(front())) {
            return number();
        }
        for (const std::string_view word : {"true", "false", "null"}) {
            if (json_.substr(offset_).starts_with(word)) {
                offset_ += word.size();
                return true;
            }
        }
        return fail("a value");
    }
    bool digits() {
        if (!is_digit(front())) {
            return fail("a digit");
        }
        while (is_digit(front())) {
            ++offset_;
        }
        return true;
    }
    bool number() {
        take('-');
        if (!take('0') && !digits()) {
            return false;
        }
        if (take('.') && !digits()) {
            return false;
        }
        if (front() == 'e' || front() == 'E') {
            ++offset_;
            if (!take('+')) {
                take('-');
            }
            return digits();
        }
        return !is_digit(front()) || fail("no digit after a leading 0");
    }
    bool string() {
        ++offset_;
        while (!take('"')) {
            if (at_end()) {
                return fail("the string's end");
            }
            if (static_cast<unsigned char>(front()) < 0x20) {
                return fail("no control character in a string");
            }
            if (take('\\')) {
                if (!escape()) {
                    return false;
                }
                continue;
            }
            const std::size_t size = character_bytes(json_.substr(offset_));
            if (size == 0) {
                return fail("UTF-8");
            }
            offset_ += size;
        }
        return true;
    }
    bool hex4(unsigned& code) {
        code = 0;
        for (int count = 0; count < 4; ++count) {
            if (!is_hex(front())) {
                return fail("four hexadecimal digits");
            }
            const char c = front();
            const int digit = is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
            code = code * 16 + static_cast<unsigned>(digit);
            ++offset_;
        }
        return true;
    }
    bool escape() {
        if (!take('u')) {
            constexpr std::string_view known = "\"\\/bfnrt";
            if (at_end() || known.find(front()) == std::string_view::npos) {
                return fail("one of \"\\/bfnrtu after a backslash");
            }
            ++offset_;
            return true;
        }
        unsigned high = 0;
        if (!hex4(high)) {
            return false;
        }
        if (high < 0xd800 || high > 0xdfff) {
            return true;
        }
        unsigned low = 0;
        const bool is_pair = high < 0xdc00 && take('\\') && take('u');
        if (is_pair && !hex4(low)) {
            return false;
        }
        return (is_pair && low >= 0xdc00 && low <= 0xdfff) || fail("a pair of surrogates");
    }

    std::string_view json_;
    std::size_t offset_ = 0;
    std::string_view expected_;
    std::vector<char> open_;
};

} // namespace

std::optional<JsonPlace> first_json_error(std::string_view json) {
    Reader reader(json);
    if (reader.read()) {
        return std::nullopt;
    }
    const std::string_view before = json.substr(0, reader.offset());
    const std::size_t line_start = before.rfind('\n') + 1; // npos + 1 is 0
    const std::string_view line = before.substr(line_start);
    const auto is_character_start = [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
    };
    JsonPlace place;
    place.line = 1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
    place.column =
        1 + static_cast<std::size_t>(std::count_if(line.begin(), line.end(), is_character_start));
    std::string found = "the end of the file";
    if (reader.offset() < json.size()) {
        const std::string_view rest = json.substr(reader.offset());
        found = echoed(rest.substr(0, std::max<std::size_t>(1, character_bytes(rest))));
    }
    place.text = "found " + found + ", expected " + std::string(reader.expected());
    return place;
}

} // namespace ringmx::config
