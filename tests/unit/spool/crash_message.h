// A message of the crash model: what its client and its operators were told, and hence what may be
// found of it after a crash.
//
// An operator's command leaves what was before it or what is after it, in all respects at once, and
// one that was answered what is after it. Of one that was answered as failed either may be there.
// What nobody waits for (deliveries, failures for good) may be lost until its mark is durable.
//
// Thread: one.
// Errors: judge() fails the test that calls.
#pragma once

#include "spool/recovery.h"
#include "spool/segment_table.h"
#include "spool/stored_message.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ringmx::spool {

class CrashMessage {
  public:
    std::string content;
    std::uint32_t recipients = 1;
    WallTime accepted_at{};
    std::vector<ChunkPlace> chunks; // durable ones
    std::size_t chunks_wanted = 0;
    bool is_acknowledged = false;
    bool is_refused = false; // the client was told so
    bool is_moving = false;
    // Where its records are held.
    SegmentTable* table = nullptr;
    std::vector<std::uint32_t> holds;
    SegmentName home;

    void acknowledge();
    // As it was found; nothing that was asked before is under way any more.
    void adopt(const RecoveredMessage& found);

    // Nobody who still waits for it: refused, being removed, or with everybody.
    [[nodiscard]] bool is_over() const;
    // It must never be found again.
    [[nodiscard]] bool is_gone() const;
    [[nodiscard]] bool is_under_command() const { return command_.has_value(); }
    [[nodiscard]] MarkKind command() const { return command_.value(); }
    [[nodiscard]] bool is_held() const { return is_held_; }
    // Of those who are neither delivered nor failed, nor is it held.
    [[nodiscard]] std::optional<std::uint32_t> next_recipient() const;
    [[nodiscard]] bool has_failures() const { return !failed_.empty(); }
    [[nodiscard]] RecipientState state(std::uint32_t recipient) const;
    [[nodiscard]] WallTime expires_from() const { return expires_from_; }

    void begin(MarkKind command, WallTime at); // hold, release or removed
    void end(bool is_done);                    // it was answered
    void deliver(std::uint32_t recipient) { delivered_.insert(recipient); }
    // True: nothing of it needs to stay.
    [[nodiscard]] bool delivery_durable(std::uint32_t recipient);
    // The number of its mark.
    [[nodiscard]] std::uint32_t fail(std::uint32_t recipient);
    void failure_durable(std::uint32_t number);

    // What a crash left of the command that was under way.
    enum class Found : std::uint8_t { nothing_under_way, before, after, either };
    // `is_quiet`: nothing at all was under way.
    [[nodiscard]] Found judge(const RecoveredMessage& found, bool is_quiet) const;
    // It was not found.
    [[nodiscard]] Found judge_missing() const;

  private:
    struct Standing {
        bool is_held = false;
        WallTime expires_from{};
        // Marks of those who failed, by number: which may be there, and which must.
        std::set<std::uint32_t> failures = {};
        std::set<std::uint32_t> durable_failures = {};
    };
    [[nodiscard]] std::string words_of(const std::vector<Standing>& standings) const;
    [[nodiscard]] bool fits(const Standing& standing, const RecoveredMessage& found) const;
    [[nodiscard]] std::set<std::uint32_t> whose(const std::set<std::uint32_t>& numbers) const;

    std::vector<Standing> may_be_;     // one of these,
    std::vector<Standing> may_become_; // or of these by the command under way
    std::optional<MarkKind> command_;
    bool is_removed_ = false;     // and the operator was told so
    bool may_be_removed_ = false; // he was told that it failed
    std::set<std::uint32_t> delivered_;
    std::set<std::uint32_t> delivered_for_sure_;
    std::vector<std::uint32_t> failures_; // whose, by number
    // While a release was under way: where that is written anew, it comes behind them.
    std::set<std::uint32_t> unordered_;
    // In memory, as the queue has it.
    bool is_held_ = false;
    WallTime expires_from_{};
    std::set<std::uint32_t> failed_;
};

} // namespace ringmx::spool
