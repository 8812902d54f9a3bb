// Content cut anywhere: the fast scanner says what the plain one says, normalised data holds no
// end of data that the client did not send, and stuffing and unstuffing undo one another.
//
// The first octet says how the rest is cut: pieces of 1 to 256 octets.
#include "base/assert.h"
#include "smtp/data_scanner.h"
#include "smtp/data_scanner_normalizing.h"
#include "smtp/dot_stuffing.h"
#include "smtp/newline_scanner.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace ringmx;
using namespace ringmx::smtp;

// Calls visit(piece) with each piece in memory of its own, so that a read beyond it is seen.
template <typename Visit> void for_each_piece(Bytes input, std::size_t piece_bytes, Visit&& visit) {
    while (!input.empty()) {
        const Bytes front = input.first(std::min(piece_bytes, input.size()));
        const std::vector<std::byte> piece(front.begin(), front.end());
        input = input.subspan(front.size());
        if (!visit(Bytes(piece))) {
            return;
        }
    }
}

void check_data(Bytes input, std::size_t piece_bytes) {
    DataScanner whole;
    const DataScan expected = whole.scan_plain(input);
    DataScanner fast;
    DataScanner plain;
    std::string content;
    for_each_piece(input, piece_bytes, [&](Bytes piece) {
        const DataScan scan = fast.scan_fast(piece);
        RINGMX_ASSERT(scan == plain.scan_plain(piece));
        RINGMX_ASSERT(fast.counts() == plain.counts());
        RINGMX_ASSERT(scan.content_bytes <= scan.consumed && scan.consumed <= piece.size());
        content += scan.held;
        content += as_text(piece.first(scan.content_bytes));
        return !scan.ended;
    });
    RINGMX_ASSERT(fast.ended() == whole.ended());
    RINGMX_ASSERT(fast.counts() == whole.counts());
    RINGMX_ASSERT(content == as_text(input.first(expected.content_bytes)));
    RINGMX_ASSERT(("\r\n" + content).find("\r\n.\r\n") == std::string::npos);
}

void check_normalized(Bytes input, std::size_t piece_bytes, ContentForm form) {
    NormalizingScanner scanner(form);
    std::string content;
    for_each_piece(input, piece_bytes, [&](Bytes piece) {
        while (!piece.empty()) {
            const auto step = scanner.next(piece);
            RINGMX_ASSERT(step.consumed > 0 || step.is_literal);
            content += as_text(step.content);
            piece = piece.subspan(step.consumed);
            if (step.ended) {
                return false;
            }
        }
        return true;
    });
    if (form == ContentForm::raw) {
        content += as_text(scanner.finish().content);
    }
    RINGMX_ASSERT(scanner.counts().wire_bytes == content.size());
    NewlineScanner newlines;
    newlines.scan_plain(as_bytes(content));
    RINGMX_ASSERT(!newlines.has_bare_newline());
    RINGMX_ASSERT(form == ContentForm::raw ||
                  ("\r\n" + content).find("\r\n.\r\n") == std::string::npos);
}

void check_newlines(Bytes input, std::size_t piece_bytes) {
    NewlineScanner fast;
    NewlineScanner plain;
    for_each_piece(input, piece_bytes, [&](Bytes piece) {
        fast.scan_fast(piece);
        return true;
    });
    plain.scan_plain(input);
    fast.finish();
    plain.finish();
    RINGMX_ASSERT(fast.bare_cr_count() == plain.bare_cr_count());
    RINGMX_ASSERT(fast.bare_lf_count() == plain.bare_lf_count());
}

void check_stuffing(Bytes input, std::size_t piece_bytes) {
    Stuffer stuffer;
    std::string wire;
    for_each_piece(input, piece_bytes, [&](Bytes piece) {
        stuffer.feed(piece, [&](Bytes part, bool) { wire += as_text(part); });
        return true;
    });
    Unstuffer unstuffer;
    std::string raw;
    for_each_piece(as_bytes(wire), piece_bytes, [&](Bytes piece) {
        unstuffer.feed(piece, [&](Bytes part) { raw += as_text(part); });
        return true;
    });
    RINGMX_ASSERT(raw == as_text(input));
    // The terminator is the first and only one.
    wire += stuffer.terminator();
    DataScanner scanner;
    const DataScan scan = scanner.scan_plain(as_bytes(wire));
    RINGMX_ASSERT(scan.ended && scan.consumed == wire.size());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    const Bytes input = std::as_bytes(std::span(data + 1, size - 1));
    const std::size_t piece_bytes = std::size_t{data[0]} + 1;
    check_data(input, piece_bytes);
    check_normalized(input, piece_bytes, ContentForm::dot_stuffed);
    check_normalized(input, piece_bytes, ContentForm::raw);
    check_newlines(input, piece_bytes);
    check_stuffing(input, piece_bytes);
    return 0;
}
