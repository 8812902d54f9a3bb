// Any octets, cut anywhere, give the same replies as the same octets in one piece, within the
// bounds.
//
// The first octet says how the rest is cut: pieces of 1 to 256 octets.
#include "base/assert.h"
#include "smtp/reply_parser.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

using ringmx::Bytes;
using ringmx::smtp::OwnedReply;
using ringmx::smtp::ReplyParser;

struct Result {
    std::vector<OwnedReply> replies;
    bool malformed = false;
};

Result parse(Bytes input, std::size_t piece_bytes) {
    Result result;
    ReplyParser parser;
    while (!input.empty()) {
        // Memory of its own, so that a read beyond the piece is seen.
        const std::size_t taken = std::min(piece_bytes, input.size());
        const std::vector<std::byte> piece(input.begin(),
                                           input.begin() + static_cast<std::ptrdiff_t>(taken));
        input = input.subspan(taken);
        for (Bytes rest = piece;;) {
            const auto [outcome, consumed] = parser.parse(rest);
            RINGMX_ASSERT(consumed <= rest.size());
            rest = rest.subspan(consumed);
            if (outcome == ReplyParser::Outcome::malformed) {
                result.malformed = true;
                return result;
            }
            if (outcome == ReplyParser::Outcome::need_input) {
                RINGMX_ASSERT(rest.empty());
                break;
            }
            RINGMX_ASSERT(consumed > 0);
            const auto& reply = parser.reply();
            RINGMX_ASSERT(reply.code >= 200 && reply.code <= 599);
            RINGMX_ASSERT(reply.text.size() <= ReplyParser::reply_bytes_max);
            RINGMX_ASSERT(reply.enhanced.class_digit == 0 ||
                          reply.enhanced.class_digit == reply.severity());
            result.replies.emplace_back(reply);
        }
    }
    return result;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    const Bytes input = std::as_bytes(std::span(data + 1, size - 1));
    const Result whole = parse(input, std::max<std::size_t>(1, input.size()));
    const Result cut = parse(input, std::size_t{data[0]} + 1);
    RINGMX_ASSERT(whole.malformed == cut.malformed);
    RINGMX_ASSERT(whole.replies.size() == cut.replies.size());
    for (std::size_t index = 0; index < whole.replies.size(); ++index) {
        RINGMX_ASSERT(whole.replies[index].code == cut.replies[index].code);
        RINGMX_ASSERT(whole.replies[index].enhanced == cut.replies[index].enhanced);
        RINGMX_ASSERT(whole.replies[index].text == cut.replies[index].text);
    }
    return 0;
}
