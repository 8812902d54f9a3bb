// What backends have said about recipients: which exist, and which do not and how that was said.
//
//   entries_: | hash 128 | expires 32 | reply 16 | code 16 |    a ring, oldest first: 24 octets each
//   index_:   | entry + 1, 32 | ...                              open addressing, linear
//   replies_: what refusals said, each text once; where it named the recipient stands a mark
//
// A recipient is known by a keyed hash of its pool's name and its canonical mailbox: nobody outside
// can make two recipients meet. An answer that comes again takes the newest place; the place after
// the newest is the oldest one, which is forgotten for the next answer when the ring is full.
// Past its time an answer is none, though it keeps its place until it is met or overwritten.
//
// Bounds: `entries_max` answers, at most bytes_per_entry_max octets each, which are touched as they
//         are used; replies_max texts of reply_bytes_max. When there are too many different ones,
//         a refusal keeps its code and gets plainer words.
// Cost:   one hash and two or three cache lines; a refusal's text is copied when it is given.
// Thread: one.
// Errors: none.
// Source: CONTRACT 3 (verification).
#pragma once

#include "base/instant.h"
#include "base/reply_table.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::policy {

// A backend's reply to RCPT: "550 5.1.1 No such user"; text as in smtp::Reply.
struct RecipientRefusal {
    std::uint16_t code = 0;
    std::array<std::uint16_t, 3> enhanced{};
    std::string_view text;
};

class VerificationCache {
  public:
    static constexpr std::size_t bytes_per_entry_max = 36;
    static constexpr std::uint32_t looks_max = 4096; // of a page: some 20 µs

    struct Key {
        std::uint64_t high = 0;
        std::uint64_t low = 0;
        bool operator==(const Key&) const = default;
    };
    // `code` 0: the recipient exists. `text` is of the cache, and valid until its next change;
    // text_for() makes it the reply's.
    struct Answer {
        RecipientRefusal refusal;
        [[nodiscard]] bool is_positive() const { return refusal.code == 0; }
    };
    struct Listed {
        Key key;
        Answer answer;
        Duration remaining{};
    };

    // `entries_max` 0: nothing is kept. `seed` is random.
    VerificationCache(std::uint32_t entries_max, std::uint64_t seed);

    // `recipient` is canonical (base/domain.h).
    [[nodiscard]] Key key_of(std::string_view pool, std::string_view recipient) const;
    [[nodiscard]] std::optional<Answer> find(const Key& key, Instant now);
    // The words of a refusal, for the mailbox that was asked for now.
    [[nodiscard]] static std::string text_for(const Answer& answer, std::string_view mailbox);

    void accept(const Key& key, Instant now, Duration time);
    // `mailbox`: as the backend was asked for it.
    void refuse(const Key& key, const RecipientRefusal& refusal, std::string_view mailbox,
                Instant now, Duration time);
    void purge();
    // False: nothing was known.
    bool purge(const Key& key);

    [[nodiscard]] std::size_t count() const { return used_; }
    [[nodiscard]] std::uint32_t entries_max() const { return entries_max_; }
    // What is held, a page at a time, oldest first: from `cursor` on (0: the first), as many as
    // `page` has room for, or fewer after looks_max places. Gives how many there were; `cursor`
    // becomes where the next page begins, 0 when there is none. Answers that come between two pages
    // may be listed or not, those that stay are.
    std::size_t list(std::uint64_t& cursor, std::span<Listed> page, Instant now) const;
    // What find() would give, with the time that it is good for.
    [[nodiscard]] std::optional<Listed> look_up(const Key& key, Instant now) const;

    // Octets of entries and index.
    [[nodiscard]] std::size_t memory_bytes() const;

  private:
    struct Entry {
        Key key;
        std::uint32_t expires = 0; // in ticks; 0: free
        std::uint16_t reply = 0;   // what the refusal said, in replies_
        std::uint16_t code = 0;    // 0: no refusal
    };
    static_assert(sizeof(Entry) == 24, "a million of them are 24 MB");

    [[nodiscard]] std::size_t home_of(const Key& key) const {
        return key.low & (index_.size() - 1);
    }
    // Where the index has it, or the free place where it would stand.
    [[nodiscard]] std::size_t place_of(const Key& key) const;
    void put(const Key& key, std::uint16_t code, std::uint16_t reply, Instant now, Duration time);
    void forget(std::uint32_t position);
    [[nodiscard]] Answer answer_of(const Entry& entry) const;
    [[nodiscard]] std::optional<Listed> listed(const Entry& entry, Instant now) const;

    std::uint32_t entries_max_;
    std::uint64_t seed_;
    std::vector<Entry> entries_; // grows to entries_max_, then next_ goes round
    std::vector<std::uint32_t> index_;
    std::uint32_t next_ = 0;
    std::uint64_t put_total_ = 0; // the number of the next place: what cursors count by
    std::size_t used_ = 0;
    ReplyTable replies_; // "5.1.1 " and the words, with marks
};

} // namespace ringmx::policy
