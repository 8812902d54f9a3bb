// What the recipients of one message were last told, where that is not the same for all: a reply for each
// part of them. Each pattern is kept once, however many messages have it, so that a message needs but
// its number.
//
//   recipients   0 1 2 3 4 5
//   parts        ├─ a ─┤ b ├─ a          {0, a}, {3, b}, {4, a}
//
// A pattern of one part is its reply's own number in the ReplyTable. Recipients that don't pend may lie
// in any part.
// Bound:  patterns_max, of parts_max parts in all; what has no room is not known. Of a pattern whose texts
//         are cut to their codes (take_plain()) there are fewer: some places are theirs alone.
// Thread: one.
// Errors: none.
#pragma once

#include "base/reply_table.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace ringmx::spool {

class ReplyPatterns {
  public:
    static constexpr std::size_t patterns_max = 4096;
    static constexpr std::size_t plain_reserved = 512;
    static constexpr std::size_t parts_max = 64 * 1024;
    static constexpr std::size_t plain_parts_reserved = 8 * 1024;

    struct Part {
        std::uint32_t first = 0; // a recipient; those from here to the next part
        std::uint16_t reply = 0; // in the table
        auto operator<=>(const Part&) const = default;
    };
    using Parts = std::vector<Part>;

    explicit ReplyPatterns(ReplyTable& replies) : replies_(replies) {}
    ReplyPatterns(const ReplyPatterns&) = delete;
    ReplyPatterns& operator=(const ReplyPatterns&) = delete;

    // In order, the first of recipient 0, no two neighbours with the same reply. Each part's reply was taken
    // from the table and is this one's now. 0: there is no room, or nothing is known of anybody.
    [[nodiscard]] std::uint16_t take(Parts parts);
    [[nodiscard]] std::uint16_t take_plain(Parts parts);
    void release(std::uint16_t number); // one take
    // Of a part; in the table.
    [[nodiscard]] std::uint16_t reply(std::uint16_t number, std::uint32_t recipient) const;
    [[nodiscard]] Parts parts(std::uint16_t number) const; // which stay this one's

    [[nodiscard]] std::size_t memory_bytes() const;

  private:
    static constexpr std::uint16_t pattern_bit = 1U << 15U;
    static_assert(ReplyTable::texts_max < pattern_bit && patterns_max <= pattern_bit);
    struct Use {
        std::uint16_t index = 0; // in by_index_
        std::uint32_t takes = 0;
    };
    using Patterns = std::map<Parts, Use>;

    [[nodiscard]] std::uint16_t take_within(Parts parts, std::size_t patterns, std::size_t room);
    void release_replies(const Parts& parts);
    [[nodiscard]] const Patterns::value_type& pattern(std::uint16_t number) const;

    ReplyTable& replies_;
    Patterns patterns_;
    std::vector<Patterns::pointer> by_index_; // null: free
    std::vector<std::uint16_t> free_;         // indices
    std::size_t parts_count_ = 0;             // of all patterns
};

} // namespace ringmx::spool
