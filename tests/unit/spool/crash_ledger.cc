#include "unit/spool/crash_ledger.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <set>
#include <utility>

namespace ringmx::spool {

void CrashLedger::judge_part(CrashRecovery& found) {
    for (const RecoveredMessage& message : found.recovery().messages()) {
        // Where marks can't be read it may be one that is over.
        ASSERT_TRUE(known_.contains(message.id) || past_.contains(message.id))
            << "invented: " << message.id;
        const CrashMessage& known = (known_.contains(message.id) ? known_ : past_).at(message.id);
        EXPECT_EQ(message.recipients_count, known.recipients);
        EXPECT_EQ(found.content_of(message), known.content) << message.id;
    }
}

void CrashLedger::judge(CrashRecovery& found, bool is_quiet) {
    const auto& messages = found.recovery().messages();
    EXPECT_TRUE(std::ranges::is_sorted(messages, {}, &RecoveredMessage::accepted_at))
        << "not in order of acceptance";
    std::set<std::uint64_t> ids;
    for (const RecoveredMessage& message : messages) {
        ASSERT_TRUE(ids.insert(message.id).second) << "twice: " << message.id;
        ASSERT_TRUE(known_.contains(message.id)) << "invented: " << message.id;
        const CrashMessage& known = known_[message.id];
        count(known, known.judge(message, is_quiet));
        EXPECT_EQ(found.content_of(message), known.content) << message.id;
        if (known.has_failures() && !message.settled.empty()) {
            tally_.add(CrashSight::failed_for_good);
        }
    }
    for (const auto& [id, known] : known_) {
        if (!ids.contains(id)) {
            SCOPED_TRACE(id);
            count(known, known.judge_missing());
        }
    }
}

void CrashLedger::count(const CrashMessage& known, CrashMessage::Found found) {
    using Found = CrashMessage::Found;
    if (found != Found::before && found != Found::after) {
        return;
    }
    const bool is_done = found == Found::after;
    switch (known.command()) {
    case MarkKind::hold:
        tally_.add(is_done ? CrashSight::hold_done : CrashSight::hold_not_done);
        break;
    case MarkKind::release:
        tally_.add(is_done ? CrashSight::release_done : CrashSight::release_not_done);
        break;
    case MarkKind::removed:
        tally_.add(is_done ? CrashSight::remove_done : CrashSight::remove_not_done);
        break;
    case MarkKind::delivered:
    case MarkKind::failed:
    case MarkKind::pool_hold:
    case MarkKind::pool_release:
        break;
    }
}

std::unique_ptr<SegmentTable> CrashLedger::adopt(CrashRecovery& found) {
    auto earlier = std::make_unique<SegmentTable>(0U, std::uint16_t{0});
    for (std::uint32_t index = 0; index < found.segments().size(); ++index) {
        const SegmentHeader& header = found.segments()[index].header;
        (void)earlier->adopt(found.segments()[index].file,
                             {header.generation, header.worker, header.life}, header.size_bytes,
                             found.recovery().marked(index));
    }
    std::map<std::uint64_t, CrashMessage> next;
    for (const RecoveredMessage& message : found.recovery().messages()) {
        CrashMessage& known = next[message.id] = known_[message.id];
        known.adopt(message);
        known.table = earlier.get();
        known.holds = message.chunk_segments;
        known.holds.push_back(message.segment);
        for (const std::uint32_t index : known.holds) {
            earlier->hold(index);
        }
        known.home = earlier->at(message.segment).name;
    }
    for (auto& [id, known] : known_) {
        if (known.is_gone()) { // it must not come back later either
            known.table = nullptr;
            known.holds.clear();
            next.try_emplace(id, known);
        }
        past_.try_emplace(id, known);
    }
    known_ = std::move(next);
    return earlier;
}

} // namespace ringmx::spool
