#include "smtp/data_scanner.h"

#include "base/assert.h"
#include "base/cpu.h"
#include "base/mutation.h"

namespace ringmx::smtp {

// The state text_cr is the common tail of every "…\r" that no LF follows: the CR was bare, and the
// octet is one of text.
void DataScanner::take(std::uint8_t octet) {
    const auto take_in_text = [&] {
        counts_.bare_lf_count += octet == '\n' ? 1 : 0;
        state_ = octet == '\r' ? State::text_cr : State::text;
        RINGMX_MUTATE(end_after_bare_lf, if (octet == '\n') state_ = State::line_start);
    };
    switch (state_) {
    case State::line_start:
        if (octet == '.') {
            state_ = State::dot;
        } else if (octet == 0) {
            state_ = State::nuls;
        } else {
            take_in_text();
        }
        return;
    case State::dot:
        if (octet == '\r') {
            state_ = State::dot_cr;
            return;
        }
        ++counts_.stuffed_dots_count;
        if (octet == 0) {
            state_ = State::nul_dot;
        } else {
            take_in_text();
        }
        return;
    case State::nuls:
        if (octet == '.') {
            state_ = State::nul_dot;
        } else if (octet == '\r') {
            state_ = State::nuls_cr;
        } else if (octet != 0) {
            take_in_text();
        }
        return;
    case State::nul_dot:
        if (octet == '\r') {
            state_ = State::nul_dot_cr;
        } else if (octet != 0) {
            take_in_text();
        }
        return;
    case State::text:
        take_in_text();
        return;
    case State::dot_cr:
    case State::nuls_cr:
    case State::nul_dot_cr:
    case State::text_cr:
        if (octet == '\n') {
            counts_.suspicious_nul_dot |= state_ == State::nul_dot_cr;
            state_ = state_ == State::dot_cr ? State::ended : State::line_start;
            return;
        }
        counts_.stuffed_dots_count += state_ == State::dot_cr ? 1 : 0;
        ++counts_.bare_cr_count;
        take_in_text();
        return;
    case State::ended:
        break;
    }
    RINGMX_ASSERT(state_ != State::ended);
}

std::size_t DataScanner::walk(Bytes span, std::size_t from, std::size_t until) {
    std::size_t at = from;
    while (at < until) {
        const auto octet = static_cast<std::uint8_t>(span[at]);
        ++at;
        if (state_ == State::text && octet != '\r' && octet != '\n') {
            continue;
        }
        take(octet);
        if (state_ == State::ended) {
            break;
        }
    }
    return at;
}

DataScan DataScanner::result(Bytes span, std::size_t walked, State before) {
    constexpr std::string_view dot_and_cr = ".\r";
    const auto held_bytes = [](State state) -> std::size_t {
        return state == State::dot ? 1 : state == State::dot_cr ? 2 : 0;
    };
    // What the span's end keeps from being content: a dot that may end the data, or the terminator
    // itself.
    const std::size_t kept = ended() ? 3 : held_bytes(state_);
    DataScan scan;
    scan.ended = ended();
    scan.consumed = ended() ? walked : span.size();
    if (kept <= walked) {
        scan.held = dot_and_cr.substr(0, held_bytes(before));
        RINGMX_MUTATE(held_dot_lost, scan.held = {});
        scan.content_bytes = walked - kept;
        counts_.wire_bytes += scan.held.size() + scan.content_bytes;
    } // else it began in an earlier span, and this one has nothing but more of it
    return scan;
}

DataScan DataScanner::scan_plain(Bytes span) {
    RINGMX_ASSERT(!ended());
    const State before = state_;
    const std::size_t walked = walk(span, 0, span.size());
    return result(span, walked, before);
}

DataScan DataScanner::scan_fast(Bytes span) {
#ifdef RINGMX_X86_64
    if (cpu_features().avx2) {
        RINGMX_ASSERT(!ended());
        const State before = state_;
        const std::size_t walked = walk_avx2(span, 0);
        return result(span, walked, before);
    }
#endif
    return scan_plain(span);
}

DataScan DataScanner::scan(Bytes span) {
    RINGMX_MUTATE(end_after_bare_lf, return scan_plain(span)); // which it is made in
    return scan_fast(span);
}

} // namespace ringmx::smtp
