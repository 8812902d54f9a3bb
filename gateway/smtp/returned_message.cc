#include "smtp/returned_message.h"

#include "base/ascii.h"
#include "smtp/dot_stuffing.h"
#include "smtp/line_text.h"

#include <algorithm>

namespace ringmx::smtp {
namespace {

constexpr auto npos = std::string_view::npos;

// The line at the start of the text, without its CRLF; the text becomes what follows it.
std::string_view take_line(std::string_view& text) {
    const std::size_t end = std::min(text.find("\r\n"), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 2, text.size()));
    return line;
}

// "Name:" or the obsolete "Name :"; or more of the field before it.
bool is_header_line(std::string_view line, bool is_first) {
    if (line.starts_with(' ') || line.starts_with('\t')) {
        return !is_first;
    }
    const auto behind = std::ranges::find_if_not(
        line, [](char octet) { return octet > 0x20 && octet < 0x7f && octet != ':'; });
    const std::size_t name_bytes = static_cast<std::size_t>(behind - line.begin());
    const std::size_t colon = line.find_first_not_of(" \t", name_bytes);
    return name_bytes > 0 && colon != npos && line[colon] == ':';
}

// One line of the header, in lines of at most report_line_bytes_max. A fold is never followed by
// nothing but blanks, which would end the header for some readers.
void append_header_line(std::string& out, std::string_view line) {
    std::size_t room = report_line_bytes_max;
    while (!line.empty()) {
        const std::string_view part = cut_text(line, room);
        line.remove_prefix(part.size());
        for (const char octet : part) {
            out += has_place_on_a_line(octet) ? octet : '?';
        }
        out += "\r\n";
        if (line.find_first_not_of(" \t") == npos) {
            break;
        }
        out += line.front() == ' ' || line.front() == '\t' ? "" : " ";
        room = report_line_bytes_max - 1;
    }
}

std::string header_of(std::string_view text, bool is_whole) {
    std::string header;
    for (bool is_first = true; !text.empty(); is_first = false) {
        const bool is_cut = !is_whole && text.find("\r\n") == npos;
        const std::string_view line = take_line(text);
        if (is_cut || !is_header_line(line, is_first)) {
            break;
        }
        const std::size_t bytes_before = header.size();
        append_header_line(header, line);
        if (header.size() > returned_bytes_max) {
            header.resize(bytes_before);
            break;
        }
    }
    return header;
}

// Whether it can be a part's body as it is.
bool is_plain(std::string_view text) {
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        if (line.size() > report_line_bytes_max ||
            line.find_first_of(std::string_view("\r\n\0", 3)) != npos) {
            return false;
        }
    }
    return true;
}

// With the trace field before it; more than a little over returned_bytes_max is of no use.
std::string beginning_of(const OriginalMessage& original) {
    std::string text(original.trace_field);
    const Bytes content = original.content.first(
        std::min(original.content.size(), 2 * returned_bytes_max)); // half of it may be stuffing
    if (original.form == ContentForm::raw) {
        text += as_text(content);
    } else {
        Unstuffer().feed(content, [&text](Bytes part) { text += as_text(part); });
    }
    return text;
}

} // namespace

ReturnedMessage returned_message(const OriginalMessage& original, bool wants_whole) {
    ReturnedMessage returned;
    std::string text = beginning_of(original);
    const bool is_whole = original.is_whole && original.content.size() <= 2 * returned_bytes_max;
    std::string header = header_of(text, is_whole);
    returned.has_eight_bit_header = !is_ascii(header);
    returned.is_whole =
        wants_whole && is_whole && text.size() <= returned_bytes_max && is_plain(text);
    returned.octets = returned.is_whole ? std::move(text) : std::move(header);
    if (returned.is_whole && !returned.octets.ends_with("\r\n")) {
        returned.octets += "\r\n";
    }
    returned.has_eight_bit = !is_ascii(returned.octets);
    return returned;
}

} // namespace ringmx::smtp
