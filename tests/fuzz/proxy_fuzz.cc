// A connection's first octets cut anywhere: same verdict, same addresses, same rest; and what was
// read is read again from what our writer makes of it.
//
// The first octet says how the rest is cut: pieces of 1 to 256 octets.
#include "base/assert.h"
#include "smtp/proxy_header.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace ringmx;
using namespace ringmx::smtp;

struct Result {
    ProxyHeader::Step step;
    std::size_t header_bytes = 0;
};

Result read(Bytes input, std::size_t piece_bytes) {
    ProxyHeader header;
    Result result;
    while (!input.empty() && result.step.result == ProxyResult::need_more) {
        const Bytes front = input.first(std::min(piece_bytes, input.size()));
        const std::vector<std::byte> piece(front.begin(), front.end());
        result.step = header.receive(piece);
        RINGMX_ASSERT(result.step.consumed <= piece.size());
        result.header_bytes += result.step.consumed;
        input = input.subspan(front.size());
    }
    return result;
}

void check_written(const SocketAddress& source, const SocketAddress& destination) {
    for (const ProxyChecksum checksum : {ProxyChecksum::no, ProxyChecksum::yes}) {
        std::string wire;
        append_proxy_v2(wire, source, destination, checksum);
        const Result again = read(as_bytes(wire), wire.size());
        RINGMX_ASSERT(again.step.result == ProxyResult::done && again.step.has_addresses);
        RINGMX_ASSERT(again.header_bytes == wire.size());
        RINGMX_ASSERT(again.step.source == source && again.step.destination == destination);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    const Bytes input = std::as_bytes(std::span(data + 1, size - 1));
    const Result whole = read(input, std::max<std::size_t>(1, input.size()));
    const Result cut = read(input, std::size_t{data[0]} + 1);
    RINGMX_ASSERT(whole.step.result == cut.step.result);
    if (whole.step.result == ProxyResult::done) {
        RINGMX_ASSERT(whole.header_bytes == cut.header_bytes);
        RINGMX_ASSERT(whole.step.has_addresses == cut.step.has_addresses);
        RINGMX_ASSERT(whole.step.source == cut.step.source);
        RINGMX_ASSERT(whole.step.destination == cut.step.destination);
        if (whole.step.has_addresses) {
            check_written(whole.step.source, whole.step.destination);
        }
    }
    return 0;
}
