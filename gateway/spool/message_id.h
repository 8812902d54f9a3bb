// What a message is called: a number in the spool's records, 13 letters everywhere else.
//
//   20 bits generation (the run that took it) | 10 bits worker | 34 bits counter
//
// Hence no id comes twice in one spool: a run has a generation of its own, a worker its part of it.
// Text:   the number in 32 digits, the first of which has 4 bits; letters without vowels (none spells
//         a word), in the order of ASCII, so that texts sort as their numbers do. Case counts.
// Thread: any.
// Errors: reading gives nothing for what is no such text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::spool {

struct MessageId {
    static constexpr unsigned counter_bits = 34; // 46 hours of 100,000 messages a second
    static constexpr unsigned worker_bits = 10;
    static constexpr unsigned generation_bits = 20;

    std::uint32_t generation = 0;
    std::uint32_t worker = 0;
    std::uint64_t counter = 0;

    bool operator==(const MessageId&) const = default;
};

// Each part has to fit.
[[nodiscard]] std::uint64_t packed(const MessageId& id);
[[nodiscard]] MessageId unpacked_id(std::uint64_t id);

// The ids that a worker of a run gives. When its counter has ended it goes on as a worker that is not
// there, of which each has its own: every `workers`th number.
class MessageIds {
  public:
    // Of a worker that has given `given` already.
    MessageIds(std::uint32_t generation, std::uint32_t worker, std::uint32_t workers,
               std::uint64_t given = 0)
        : next_{generation, worker, given}, workers_(workers) {}

    // Whether there is another one. Not after 2^44 of all workers, 68 days of 3 million a second.
    [[nodiscard]] bool any_left() const { return next_.worker >> MessageId::worker_bits == 0; }
    [[nodiscard]] std::uint64_t next(); // one that is left

  private:
    MessageId next_;
    std::uint32_t workers_;
};

inline constexpr std::size_t id_letters = 13;

[[nodiscard]] std::string id_text(std::uint64_t id);
[[nodiscard]] std::optional<std::uint64_t> read_id(std::string_view text);

} // namespace ringmx::spool
