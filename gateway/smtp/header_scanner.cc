#include "smtp/header_scanner.h"

#include <cstddef>
#include <cstring>
#include <string_view>

namespace ringmx::smtp {
namespace {

constexpr std::string_view received = "received";
constexpr std::uint8_t no_match = 0xFF;

bool is_blank(std::uint8_t octet) { return octet == ' ' || octet == '\t'; }

// RFC 5322, 3.6.8: ftext.
bool is_name(std::uint8_t octet) { return octet > 32 && octet < 127 && octet != ':'; }

std::size_t name_end(Bytes content, std::size_t at) {
    while (at < content.size() && is_name(static_cast<std::uint8_t>(content[at]))) {
        ++at;
    }
    return at;
}

} // namespace

void HeaderScanner::scan_header(Bytes content) {
    for (std::size_t at = 0; at < content.size() && place_ != Place::body; ++at) {
        if (place_ == Place::name && matched_ == no_match) { // only where it ends matters
            at = name_end(content, at);
            if (at == content.size()) {
                return;
            }
        }
        const auto octet = static_cast<std::uint8_t>(content[at]);
        switch (place_) {
        case Place::line_start:
        case Place::behind_dot:
            place_ = take_line_start(octet);
            break;
        case Place::empty_cr:
            place_ = Place::body; // the empty line's LF; or a CR that belongs to no field
            break;
        case Place::name:
            place_ = take_name(octet);
            break;
        case Place::blanks:
            place_ = take_blank(octet);
            break;
        case Place::rest_of_line: {
            const void* newline = std::memchr(content.data() + at, '\n', content.size() - at);
            if (newline == nullptr) {
                return;
            }
            at = static_cast<std::size_t>(static_cast<const std::byte*>(newline) - content.data());
            place_ = Place::line_start;
            break;
        }
        case Place::body:
            break;
        }
    }
}

HeaderScanner::Place HeaderScanner::take_line_start(std::uint8_t octet) {
    if (octet == '.' && form_ == ContentForm::dot_stuffed && place_ == Place::line_start) {
        return Place::behind_dot;
    }
    const bool at_start = at_start_;
    at_start_ = false;
    if (is_blank(octet)) {
        starts_with_space_ |= at_start;
        return Place::rest_of_line;
    }
    if (octet == '\r') {
        return Place::empty_cr;
    }
    matched_ = 0;
    return octet == ':' ? Place::body : take_name(octet);
}

HeaderScanner::Place HeaderScanner::take_name(std::uint8_t octet) {
    if (!is_name(octet)) {
        return take_blank(octet);
    }
    const bool matches = matched_ < received.size() &&
                         (octet | 0x20U) == static_cast<std::uint8_t>(received[matched_]);
    matched_ = matches ? static_cast<std::uint8_t>(matched_ + 1) : no_match;
    return Place::name;
}

HeaderScanner::Place HeaderScanner::take_blank(std::uint8_t octet) {
    if (is_blank(octet)) {
        return Place::blanks;
    }
    if (octet != ':') {
        return Place::body;
    }
    received_fields_count_ += matched_ == received.size() ? 1 : 0;
    return Place::rest_of_line;
}

} // namespace ringmx::smtp
