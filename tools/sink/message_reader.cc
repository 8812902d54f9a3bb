#include "sink/message_reader.h"

#include "base/ascii.h"
#include "base/crc32c.h"

#include <algorithm>
#include <cstring>

namespace ringmx::sink {
namespace {

constexpr std::string_view field_name = "message-id:";

constexpr bool is_blank(char octet) {
    return octet == ' ' || octet == '\t' || octet == '\r' || octet == '\n';
}

} // namespace

void MessageReader::reset() {
    message_id_.clear();
    octets_ = 0;
    checksum_ = 0;
    matched_ = 0;
    state_ = State::name;
}

void MessageReader::feed(Bytes content) {
    static_assert(sizeof(name_) == field_name.size());
    std::string_view text = as_text(content);
    while (!text.empty()) {
        std::size_t taken = text.size();
        switch (state_) {
        case State::name:
            taken = read_name(text);
            break;
        case State::other: {
            const std::size_t end = text.find('\n');
            if (end != std::string_view::npos) {
                taken = end + 1;
                state_ = State::name;
                matched_ = 0;
            }
            break;
        }
        case State::value:
        case State::value_end:
            taken = read_value(text);
            break;
        case State::rest:
            count(text);
            return;
        case State::absent:
            return;
        }
        text.remove_prefix(taken);
    }
}

std::size_t MessageReader::read_name(std::string_view text) {
    std::size_t position = 0;
    while (position < text.size()) {
        const char octet = text[position];
        if (ascii_lower(octet) != field_name[matched_]) {
            state_ = matched_ == 0 && octet == '\r' ? State::absent : State::other;
            return position;
        }
        name_[matched_++] = octet;
        ++position;
        if (matched_ == field_name.size()) {
            state_ = State::value;
            count({name_, sizeof(name_)});
            return position;
        }
    }
    return position;
}

// Takes octets up to the field's end, and counts them.
std::size_t MessageReader::read_value(std::string_view text) {
    std::size_t position = 0;
    for (; position < text.size(); ++position) {
        const char octet = text[position];
        if (state_ == State::value_end) {
            if (octet != ' ' && octet != '\t') {
                state_ = State::rest;
                break;
            }
            state_ = State::value;
        }
        if (octet == '\n') {
            state_ = State::value_end;
        }
        if (message_id_.size() < id_bytes_max) {
            message_id_ += octet;
        }
    }
    count(text.substr(0, position));
    return position;
}

void MessageReader::count(std::string_view text) {
    octets_ += text.size();
    if (with_checksum_) {
        checksum_ = crc32c(checksum_, as_bytes(text));
    }
}

void MessageReader::finish() {
    if (!is_counting()) {
        message_id_.clear();
        return;
    }
    std::string_view value = message_id_;
    const std::size_t open = value.find('<');
    const std::size_t close = open == std::string_view::npos ? open : value.find('>', open);
    if (close != std::string_view::npos) {
        value = value.substr(open + 1, close - open - 1);
    }
    while (!value.empty() && is_blank(value.front())) {
        value.remove_prefix(1);
    }
    while (!value.empty() && is_blank(value.back())) {
        value.remove_suffix(1);
    }
    std::memmove(message_id_.data(), value.data(), value.size());
    message_id_.resize(value.size());
    std::ranges::replace_if(
        message_id_, [](char octet) { return octet <= ' ' || octet > '~'; }, '?');
}

} // namespace ringmx::sink
