// What clients of a spool's life were promised, what its operators were told, and what its backends
// took, held against each other:
//
//   acknowledged   each recipient's copy was taken, or its failure reported, or the letter was removed
//   taken          it was sent, for that recipient, by that content, in that pool
//   removed, held  no copy is begun from the next start on; of what is held until it is let go
//   on hold        an operator asked for it, and no later word of his was carried out
//
// A letter is told apart by its first line, which no other has.
// Thread: one.
// Errors: failures of the test that calls.
#pragma once

#include "sim/random.h"
#include "sim/worker_backend.h"

#include "base/messages/queue_messages.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::sim {

struct Letter {
    struct Recipient {
        std::size_t taken = 0;
        bool is_reported = false;
    };
    std::string key;
    std::string content;
    std::map<std::string, Recipient> recipients; // by address
    std::string id;                              // once it is acknowledged
    bool is_acknowledged = false;

    // By operators: asked for, and told to be done.
    bool is_under_command = false;
    bool may_be_removed = false;
    bool is_removed = false;
    bool may_be_on_hold = false;
    bool is_on_hold = false;
    std::size_t rests_since = SIZE_MAX; // the start from which on no copy is begun
};

class SpoolLedger {
  public:
    static constexpr std::string_view refusal = "550 5.1.1 never";

    explicit SpoolLedger(Random& random) : random_(random) {}

    // Of pool "one" the first two, of pool "two" the third.
    void watch(ScriptedBackend& backend) { backends_.push_back(&backend); }

    Letter& write_letter(); // stays where it is
    void acknowledged(Letter& letter, std::string id);

    // Letters that an operator may want something of, oldest first: acknowledged ones.
    [[nodiscard]] const std::vector<Letter*>& acknowledged() const { return acknowledged_; }
    void asked(Letter& letter, QueueQuestion::Kind kind);
    void done(Letter& letter, QueueQuestion::Kind kind);
    // A message that is on hold in the end, and is let go.
    void let_go(std::uint64_t id);

    void started(); // nobody has connected anywhere yet
    void judge(bool bounces);
    [[nodiscard]] std::size_t duplicates() const;
    [[nodiscard]] std::size_t reported() const;

  private:
    // Behind which start the last copy was begun, by letter's key.
    using LastCopies = std::map<std::string, std::size_t>;
    [[nodiscard]] LastCopies last_copies() const;
    [[nodiscard]] Letter*
    find(std::string_view id) const; // null: its client was gone before the 250
    static void expect_rest(const Letter& letter, const LastCopies& last);
    void judge_copy(const BackendMessage& message, std::string_view pool);
    void judge_report(const BackendMessage& message, bool bounces);

    Random& random_;
    std::vector<ScriptedBackend*> backends_;
    std::map<std::string, Letter> letters_; // by key
    std::vector<Letter*> acknowledged_;
    std::vector<std::vector<std::size_t>> starts_; // connections until then, of each backend
};

} // namespace ringmx::sim
