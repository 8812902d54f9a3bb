#include "smtp/data_scanner_normalizing.h"

#include "base/assert.h"

namespace ringmx::smtp {
namespace {

// How many octets come before the next CR or LF.
std::size_t ordinary_octets(Bytes span) {
    std::size_t count = 0;
    while (count < span.size() && span[count] != std::byte{'\r'} &&
           span[count] != std::byte{'\n'}) {
        ++count;
    }
    return count;
}

} // namespace

NormalizingScanner::Piece NormalizingScanner::next(Bytes span) {
    RINGMX_ASSERT(!span.empty() && state_ != State::ended);
    const auto octet = static_cast<std::uint8_t>(span[0]);
    const bool is_line_dot = form_ == ContentForm::dot_stuffed && octet == '.';
    if (state_ == State::dot) {
        return next_behind_dot(octet);
    }
    if (state_ == State::dot_cr) {
        return next_behind_dot_cr(octet);
    }
    if (state_ == State::line_start && is_line_dot) {
        state_ = State::dot;
        return {.content = {}, .consumed = 1};
    }
    if (state_ == State::normalized_start && is_line_dot) {
        ++counts_.stuffed_dots_count;
        return give_literal(".", 0, State::text);
    }
    if (state_ == State::text_cr && octet != '\n') {
        ++counts_.bare_cr_count;
        end_line();
        return give_literal("\n", 0, State::normalized_start);
    }
    if (state_ != State::text_cr && octet == '\n') {
        ++counts_.bare_lf_count;
        end_line();
        return give_literal("\r\n", 1, State::normalized_start);
    }
    const std::size_t passed = pass_text(span);
    counts_.wire_bytes += passed;
    return {.content = span.first(passed), .consumed = passed};
}

NormalizingScanner::Piece NormalizingScanner::finish() {
    RINGMX_ASSERT(form_ == ContentForm::raw);
    if (state_ != State::text_cr) {
        return {};
    }
    ++counts_.bare_cr_count;
    return give_literal("\n", 0, State::normalized_start);
}

NormalizingScanner::Piece NormalizingScanner::next_behind_dot(std::uint8_t octet) {
    if (octet == '\r') {
        state_ = State::dot_cr;
        return {.content = {}, .consumed = 1};
    }
    ++counts_.stuffed_dots_count;
    note('.');
    // A bare LF is about to become CRLF: the lone dot before it must not end the data then.
    return give_literal(octet == '\n' ? ".." : ".", 0, State::text);
}

NormalizingScanner::Piece NormalizingScanner::next_behind_dot_cr(std::uint8_t octet) {
    if (octet == '\n') {
        state_ = State::ended;
        return {.content = {}, .consumed = 1, .ended = true};
    }
    ++counts_.stuffed_dots_count;
    ++counts_.bare_cr_count;
    return give_literal("..\r\n", 0, State::normalized_start);
}

// Passes octets as far as they go out as they are: up to a bare newline, or a dot at a line's
// start.
std::size_t NormalizingScanner::pass_text(Bytes span) {
    std::size_t at = 0;
    for (; at < span.size(); ++at) {
        const auto octet = static_cast<std::uint8_t>(span[at]);
        const bool is_line_dot = state_ == State::line_start && octet == '.';
        if (octet == '\n' && state_ == State::text_cr) {
            end_line();
            state_ = State::line_start;
        } else if (octet == '\n' || state_ == State::text_cr ||
                   (is_line_dot && form_ == ContentForm::dot_stuffed)) {
            break;
        } else if (octet == '\r') {
            state_ = State::text_cr;
        } else {
            state_ = State::text;
            note(octet);
            at += line_ == Line::other ? ordinary_octets(span.subspan(at + 1)) : 0;
        }
    }
    return at;
}

NormalizingScanner::Piece NormalizingScanner::give_literal(std::string_view text,
                                                           std::size_t consumed, State state) {
    state_ = state;
    counts_.wire_bytes += text.size();
    return {.content = as_bytes(text), .is_literal = true, .consumed = consumed};
}

void NormalizingScanner::note(std::uint8_t octet) {
    switch (line_) {
    case Line::empty:
        line_ = octet == 0 ? Line::nuls : octet == '.' ? Line::dot : Line::other;
        return;
    case Line::dot:
        line_ = octet == 0 ? Line::nul_dot : Line::other;
        return;
    case Line::nuls:
        line_ = octet == 0 ? Line::nuls : octet == '.' ? Line::nul_dot : Line::other;
        return;
    case Line::nul_dot:
        line_ = octet == 0 ? Line::nul_dot : Line::other;
        return;
    case Line::other:
        return;
    }
}

void NormalizingScanner::end_line() {
    counts_.suspicious_nul_dot |= form_ == ContentForm::dot_stuffed && line_ == Line::nul_dot;
    line_ = Line::empty;
}

} // namespace ringmx::smtp
