// A path that is taken is taken again from its own mailbox, and its bounds hold.
#include "base/assert.h"
#include "smtp/mailbox.h"

#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace ringmx::smtp;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const PathKind kind : {PathKind::reverse, PathKind::forward}) {
        const auto path = parse_path(text, kind);
        if (!path) {
            continue;
        }
        RINGMX_ASSERT(path->text_bytes <= size && path->text_bytes >= 2);
        RINGMX_ASSERT(text[path->text_bytes - 1] == '>');
        RINGMX_ASSERT(path->mailbox.size() <= mailbox_bytes_max);
        const std::string again = "<" + std::string(path->mailbox) + ">";
        const auto second = parse_path(again, kind);
        RINGMX_ASSERT(second && second->mailbox == path->mailbox &&
                      second->text_bytes == again.size());
    }
    (void)is_mail_domain(text);
    (void)is_address_literal(text);
    (void)is_utf8(text);
    return 0;
}
