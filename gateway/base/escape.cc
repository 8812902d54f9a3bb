#include "base/escape.h"

#include "base/plain_ascii.h"
#include "base/put.h"

#include <array>
#include <cstdint>

namespace ringmx {
namespace {

struct Character {
    std::size_t length = 1; // octets
    std::uint32_t code_point = 0;
    bool is_valid = false;
};

std::uint32_t octet(std::string_view text, std::size_t index) {
    return static_cast<std::uint8_t>(text[index]);
}

// The character at the beginning of `text`; an octet that begins none is one invalid octet (RFC
// 3629, 4: no overlong forms, no surrogates, nothing above U+10FFFF).
Character decode(std::string_view text) {
    const std::uint32_t first = octet(text, 0);
    if (first < 0x80) {
        return {1, first, true};
    }
    const std::size_t length = first >= 0xC2 && first <= 0xDF   ? 2U
                               : first >= 0xE0 && first <= 0xEF ? 3U
                               : first >= 0xF0 && first <= 0xF4 ? 4U
                                                                : 0U;
    if (length == 0 || text.size() < length) {
        return {};
    }
    std::uint32_t code_point = first & (0x7FU >> length);
    for (std::size_t index = 1; index < length; ++index) {
        if ((octet(text, index) & 0xC0U) != 0x80U) {
            return {};
        }
        code_point = code_point << 6U | (octet(text, index) & 0x3FU);
    }
    const bool is_overlong =
        (length == 3 && code_point < 0x800) || (length == 4 && code_point < 0x10000);
    const bool is_surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
    if (is_overlong || is_surrogate || code_point > 0x10FFFF) {
        return {};
    }
    return {length, code_point, true};
}

bool is_control(std::uint32_t code_point) {
    return code_point < 0x20 || (code_point >= 0x7F && code_point <= 0x9F) ||
           code_point == 0x061C || code_point == 0x200E || code_point == 0x200F ||
           (code_point >= 0x2028 && code_point <= 0x202E) ||
           (code_point >= 0x2066 && code_point <= 0x2069) || code_point == 0xFEFF;
}

constexpr std::string_view hex_digits = "0123456789abcdef";

struct LogForm {
    static constexpr std::string_view ascii_special = "\\";
    template <typename Out>
    static void unsafe(Out& out, std::string_view octets, const Character& character) {
        if (character.is_valid) {
            switch (character.code_point) {
            case '\r':
                return put(out, "\\r");
            case '\n':
                return put(out, "\\n");
            case '\t':
                return put(out, "\\t");
            case 0x1B:
                return put(out, "\\e");
            case '\\':
                return put(out, "\\\\");
            default:
                break;
            }
        }
        for (std::size_t index = 0; index < octets.size(); ++index) {
            const std::uint32_t value = octet(octets, index);
            const std::array<char, 4> form = {'\\', 'x', hex_digits[value >> 4U],
                                              hex_digits[value & 15U]};
            put(out, {form.data(), form.size()});
        }
    }
};

struct JsonForm {
    static constexpr std::string_view ascii_special = "\\\"";
    template <typename Out>
    static void unsafe(Out& out, std::string_view, const Character& character) {
        if (!character.is_valid) {
            return put(out, "\\ufffd");
        }
        switch (character.code_point) {
        case '\r':
            return put(out, "\\r");
        case '\n':
            return put(out, "\\n");
        case '\t':
            return put(out, "\\t");
        case '\\':
            return put(out, "\\\\");
        case '"':
            return put(out, "\\\"");
        default:
            break;
        }
        const std::uint32_t value = character.code_point; // every unsafe character is below U+10000
        const std::array<char, 6> form = {'\\',
                                          'u',
                                          hex_digits[value >> 12U & 15U],
                                          hex_digits[value >> 8U & 15U],
                                          hex_digits[value >> 4U & 15U],
                                          hex_digits[value & 15U]};
        put(out, {form.data(), form.size()});
    }
};

struct LabelForm {
    static constexpr std::string_view ascii_special = "\\\"";
    template <typename Out>
    static void unsafe(Out& out, std::string_view, const Character& character) {
        if (character.is_valid && character.code_point == '\\') {
            return put(out, "\\\\");
        }
        if (character.is_valid && character.code_point == '"') {
            return put(out, "\\\"");
        }
        if (character.is_valid && character.code_point == '\n') {
            return put(out, "\\n");
        }
        put(out, "?");
    }
};

// Graphic ASCII and the blank, but for what the form escapes.
template <typename Form> bool is_plain(char character) {
    static constexpr auto plain = [] {
        std::array<bool, 256> made{};
        for (std::size_t value = 0x20; value < 0x7F; ++value) {
            made[value] =
                Form::ascii_special.find(static_cast<char>(value)) == std::string_view::npos;
        }
        return made;
    }();
    return plain[static_cast<unsigned char>(character)];
}

template <typename Form> bool are_plain(const char* octets) {
    return are_eight_plain(octets, [](std::uint64_t word) {
        std::uint64_t failed = 0;
        for (const char special : Form::ascii_special) {
            failed |= (word ^ static_cast<std::uint8_t>(special) * each_octet) - each_octet;
        }
        return failed;
    });
}

// Where from `at` on the first octet stands that is not plain.
template <typename Form> std::size_t plain_end(std::string_view text, std::size_t at) {
    constexpr std::size_t word_bytes = sizeof(std::uint64_t);
    while (text.size() - at >= word_bytes && are_plain<Form>(text.data() + at)) {
        at += word_bytes;
    }
    // The last eight, some of them for the second time.
    if (text.size() - at < word_bytes && text.size() >= word_bytes &&
        are_plain<Form>(text.data() + text.size() - word_bytes)) {
        return text.size();
    }
    while (at < text.size() && is_plain<Form>(text[at])) {
        ++at;
    }
    return at;
}

template <typename Form, typename Out> void append(Out& out, std::string_view text) {
    std::size_t begin = 0; // of the safe run under way
    std::size_t at = 0;
    for (;;) {
        at = plain_end<Form>(text, at);
        if (at == text.size()) {
            break;
        }
        const Character character = decode(text.substr(at));
        const bool is_special = character.code_point < 0x80 &&
                                Form::ascii_special.find(static_cast<char>(character.code_point)) !=
                                    std::string_view::npos;
        if (character.is_valid && !is_control(character.code_point) && !is_special) {
            at += character.length;
            continue;
        }
        put(out, text.substr(begin, at - begin));
        Form::unsafe(out, text.substr(at, character.length), character);
        at += character.length;
        begin = at;
    }
    put(out, text.substr(begin));
}

} // namespace

void append_log_text(std::string& out, std::string_view text) { append<LogForm>(out, text); }
void append_log_text(fmt::memory_buffer& out, std::string_view text) { append<LogForm>(out, text); }
void append_json_text(std::string& out, std::string_view text) { append<JsonForm>(out, text); }
void append_json_text(fmt::memory_buffer& out, std::string_view text) {
    append<JsonForm>(out, text);
}
void append_label_text(std::string& out, std::string_view text) { append<LabelForm>(out, text); }

} // namespace ringmx
