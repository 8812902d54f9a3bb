#include "worker/choice_key.h"

#include "base/domain.h"
#include "upstream/slot_table.h"

#include <string>

namespace ringmx::worker {

std::uint64_t choice_key(HashKey by, std::string_view recipient_key, std::string_view reverse_path,
                         const IpAddress& client) {
    std::string canonical;
    switch (by) {
    case HashKey::recipient:
        return upstream::hash_key(recipient_key);
    case HashKey::recipient_domain:
        return upstream::hash_key(recipient_key.substr(recipient_key.rfind('@') + 1));
    case HashKey::sender:
        return upstream::hash_key(canonical_mailbox(reverse_path, canonical) ? canonical
                                                                             : reverse_path);
    case HashKey::client_address:
        return upstream::hash_key(client.text());
    case HashKey::none:
        return 0;
    }
    return 0;
}

} // namespace ringmx::worker
