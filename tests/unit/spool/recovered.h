// What Recovery makes of segments' octets that were made by hand.
#pragma once

#include "spool/recovery.h"
#include "spool/scanner.h"
#include "unit/spool/segment_image.h"

#include <cstdint>
#include <vector>

namespace ringmx::spool {

struct Recovered {
    Recovery recovery;
    std::vector<ScanResult> scans;
};

inline void recover(Recovered& into, const std::vector<const SegmentImage*>& images) {
    SegmentScanner scanner;
    for (const SegmentImage* image : images) {
        into.recovery.begin_segment(static_cast<std::uint32_t>(into.scans.size()), image->header());
        into.scans.push_back(
            scanner.scan(image->reader(), [&](const RecordHeader& header, Bytes body) {
                into.recovery.record(header, body);
            }));
    }
    into.recovery.finish();
}

using Ids = std::vector<std::uint64_t>;

[[nodiscard]] inline Ids ids(Recovered& recovered) {
    Ids found;
    for (const RecoveredMessage& message : recovered.recovery.messages()) {
        found.push_back(message.id);
    }
    return found;
}

} // namespace ringmx::spool
