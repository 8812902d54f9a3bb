// A message's header cut anywhere gives the same verdict as in one piece, in both forms.
//
// The first octet says how the rest is cut: pieces of 1 to 256 octets.
#include "base/assert.h"
#include "smtp/header_scanner.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

using namespace ringmx;
using namespace ringmx::smtp;

HeaderScanner scan(Bytes input, std::size_t piece_bytes, ContentForm form) {
    HeaderScanner scanner(form);
    while (!input.empty()) {
        const Bytes front = input.first(std::min(piece_bytes, input.size()));
        const std::vector<std::byte> piece(front.begin(), front.end());
        scanner.scan(piece);
        input = input.subspan(front.size());
    }
    return scanner;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    const Bytes input = std::as_bytes(std::span(data + 1, size - 1));
    for (const ContentForm form : {ContentForm::dot_stuffed, ContentForm::raw}) {
        const HeaderScanner whole = scan(input, std::max<std::size_t>(1, input.size()), form);
        const HeaderScanner cut = scan(input, std::size_t{data[0]} + 1, form);
        RINGMX_ASSERT(whole.received_fields_count() == cut.received_fields_count());
        RINGMX_ASSERT(whole.starts_with_space() == cut.starts_with_space());
        RINGMX_ASSERT(whole.header_ended() == cut.header_ended());
        // "Received:" takes nine octets.
        RINGMX_ASSERT(whole.received_fields_count() <= input.size() / 9);
    }
    return 0;
}
