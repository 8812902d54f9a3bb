// Whether recipients exist, for routes with `verify`: what backends have said, and asking them.
//
//   ask() ─▶ cache ──────────────────────────────────────────────▶ its verdict, at once
//         └▶ question, one for each recipient however many ask ─▶ VerificationProbe ─▶ cache, and
//                                                    ClientConnection::recipient_verified() of each
//
// A `spool` listener asks before it takes a recipient. A `backend` listener does not ask: there the
// backend itself answers RCPT, in the message's own transaction; but what is known not to exist it
// refuses without a backend (known()).
//
// exists       the backend says 2xx to RCPT
// unknown      5xx to RCPT: the client gets that reply
// unavailable  it can't be asked or does not say: no backend, refused MAIL, 4xx, a 5xx that tells of
//              our side, no answer in time. verification.unavailable says what then; nothing of it
//              is kept.
//
// Backend: the one that the recipient's own hash chooses. Connections are the pool's, and all that
//          asks counts as one client: at most a quarter of a pool's connections are held for it, over
//          all workers.
// Bounds:  questions_max at a time; the cache by verification.entries, divided among the workers.
//          More questions, or a pool on hold: unavailable.
// Thread:  one worker's.
// Errors:  verdicts.
// Source:  CONTRACT 3 (routes[].verify, verification).
#pragma once

#include "base/messages/cache_messages.h"
#include "base/slab.h"
#include "observe/counters.h"
#include "policy/verification_cache.h"
#include "smtp/reply.h"
#include "worker/verification_probe.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace ringmx::worker {

class Worker;
struct Snapshot;

struct Verdict {
    observe::VerificationResult result = observe::VerificationResult::unavailable;
    smtp::OwnedReply reply; // unknown: the backend's
};

class Verification {
  public:
    static constexpr std::uint32_t questions_max = 4096;

    explicit Verification(Worker& worker);
    ~Verification();
    Verification(const Verification&) = delete;
    Verification& operator=(const Verification&) = delete;

    // `mailbox`: what the backend is asked for; `key`: its canonical form.
    struct Question {
        const std::shared_ptr<const Snapshot>& snapshot;
        std::uint32_t pool_index;
        std::string_view mailbox;
        std::string_view key;
    };
    // Nothing: recipient_verified() of the client comes later, with this ticket.
    [[nodiscard]] std::optional<Verdict> ask(const Question& question, Handle client,
                                             std::uint64_t ticket);
    // Only what is known.
    [[nodiscard]] std::optional<Verdict> known(const Question& question);
    // One for each ask(); never the same again.
    [[nodiscard]] std::uint64_t next_ticket() { return ++last_ticket_; }

    void configuration_changed();
    [[nodiscard]] CacheAnswer answer(const CacheQuestion& question);
    void cut(); // asks no more: what is asked is unavailable
    void reap();
    [[nodiscard]] bool idle() const { return probes_.used() == 0; }
    [[nodiscard]] VerificationProbe* probe(Handle handle) { return probes_.find(handle); }
    [[nodiscard]] VerificationProbe& probe_at(std::uint32_t slot) { return *probes_.at(slot); }
    // The backend's last word, or that there is none.
    void answered(VerificationProbe& probe, observe::VerificationResult result,
                  const smtp::Reply& reply);

  private:
    [[nodiscard]] std::optional<Verdict> find(const policy::VerificationCache::Key& key,
                                              std::string_view mailbox);
    [[nodiscard]] VerificationProbe* question_about(const policy::VerificationCache::Key& key);
    [[nodiscard]] CacheAnswer list(const CacheQuestion& question) const;
    [[nodiscard]] CacheAnswer purge(const CacheQuestion& question);
    [[nodiscard]] std::optional<policy::VerificationCache::Key>
    key_of(const std::string& recipient) const;
    void show_count();

    Worker& worker_;
    std::unique_ptr<policy::VerificationCache> cache_; // null: no route verifies
    Slab<VerificationProbe> probes_;
    // In no order: few questions are open at a time. One that is under way but not here was asked
    // before a purge: its answer is nobody's but the askers'.
    std::vector<std::pair<policy::VerificationCache::Key, Handle>> open_;
    std::vector<Handle> ended_;
    std::uint64_t last_ticket_ = 0;
};

} // namespace ringmx::worker
