// What clients of a world sent and were told, and what its backends heard and said, held against each
// other at every step:
//
//   at a backend   no MAIL, RCPT or content that a client did not send in that transaction; recipients
//                  of that pool only; the octets that the client sent and no others, from the first one
//                  on; whole only when the client sent the last one; whole once at most
//   at a client    a 250 for a recipient or a message only if a backend said that very 250 to it, for
//                  exactly the recipients that the client was told; a refusal only if a backend said
//                  it or the contract has it as ours
//
// A transaction is told apart by its sender's address, which no other has.
// Thread: one.
// Errors: faults(), in order; the first one tells what happened.
#pragma once

#include "sim/worker_backend.h"

#include <cstddef>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::sim {

// One MAIL of a client and what belongs to it.
struct Attempt {
    std::string sender;
    std::vector<std::string> recipients; // whose RCPT was sent
    std::string octets;                  // of the message, as a backend must get them
    bool by_chunks = false;
    bool is_poison = false;       // its octets must be refused
    bool content_offered = false; // DATA or BDAT was sent
    bool ended = false;           // the last octet was given to the network
    bool is_garbled = false;      // a backend said what has no meaning: nobody can say it again

    // By the client, as it was told.
    std::vector<std::string> accepted; // recipients answered 250
    bool taken = false;

    // By backends: what they said, to each recipient, to "MAIL", "DATA", "chunk" and ".".
    std::map<std::string, std::set<std::string>, std::less<>> said;
    std::size_t complete_count = 0;
    std::vector<std::string> taken_for; // recipients of the message that a backend took

    [[nodiscard]] bool was_said(std::string_view to, const std::string& reply) const;
};

class Ledger {
  public:
    // The reference stays good.
    Attempt& begin(std::string sender, std::string octets);

    // From a backend of `pool`, before it answers,
    void heard(std::string_view pool, const Asked& asked);
    void overheard(const BackendMessage& message);
    // and what it answers then.
    void answered(const Asked& asked, const std::string& reply);
    void garbled(const Asked& asked);

    // From a client, an answer to its own command. True: it was good.
    bool told_recipient(Attempt& attempt, const std::string& recipient, const std::string& reply);
    bool told_data(Attempt& attempt, const std::string& reply);
    bool told_final(Attempt& attempt, const std::string& reply);

    void fault(std::string what) { faults_.push_back(std::move(what)); }
    [[nodiscard]] const std::vector<std::string>& faults() const { return faults_; }
    [[nodiscard]] std::size_t told_taken() const { return told_taken_; }
    [[nodiscard]] std::size_t told_recipients() const { return told_recipients_; }
    [[nodiscard]] std::size_t taken() const { return taken_; } // by backends
    [[nodiscard]] std::size_t complete() const { return complete_; }
    [[nodiscard]] std::size_t recipients_said() const { return recipients_said_; }

  private:
    // How far a message at a backend has been compared.
    struct Compared {
        std::string expected; // behind the trace field, in the form that it arrives in
        std::size_t trace_bytes = 0;
        std::size_t count = 0;
    };

    [[nodiscard]] Attempt* attempt_of(const BackendMessage& message);
    [[nodiscard]] Attempt* attempt_of(const Asked& asked);
    void heard_mail(const std::string& command);
    void heard_recipient(std::string_view pool, const std::string& command, Attempt& attempt);
    void heard_end(const BackendMessage& message, Attempt& attempt);
    void compare(const BackendMessage& message, const Attempt& attempt);
    [[nodiscard]] static bool is_ours(const std::string& reply,
                                      std::initializer_list<std::string_view> starts);

    std::map<std::string, Attempt, std::less<>> attempts_;
    std::map<const BackendMessage*, Compared> compared_;
    std::vector<std::string> faults_;
    std::size_t told_taken_ = 0;
    std::size_t told_recipients_ = 0;
    std::size_t taken_ = 0;
    std::size_t complete_ = 0;
    std::size_t recipients_said_ = 0;
};

// What stands between the first '<' and the next '>'.
[[nodiscard]] std::string mailbox_in(std::string_view command);
// DATA's form, without the final dot: only what follows a true CRLF begins a line.
[[nodiscard]] std::string dots_stuffed(std::string_view octets);
// The pool that this recipient belongs to; empty: none.
[[nodiscard]] std::string_view pool_of(std::string_view recipient);

} // namespace ringmx::sim
