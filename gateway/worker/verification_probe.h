// One question to a backend: whether a recipient exists.
//
//   acquire ─▶ connection ─▶ MAIL FROM:<>, RCPT TO (pipelined where the backend takes it)
//           ◀─ its answer to RCPT;  RSET leaves the connection clean
//
// A connection that is lost before the answer is replaced once; a reused one that turns out dead
// counts for nothing.
// Bounds: answer_within in all, so that clients, who wait five minutes for RCPT's answer, hear in
//         time.
// Thread: one worker's.
// Errors: Verification::answered() says `unavailable`.
// Source: CONTRACT 3 (routes[].verify); RFC 5321, 4.5.3.2.3.
#pragma once

#include "base/slab.h"
#include "base/timer_wheel.h"
#include "observe/counters.h"
#include "policy/verification_cache.h"
#include "upstream/connection_book.h"
#include "worker/backend_access.h"
#include "worker/exchange.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::worker {

class Verification;
class Worker;

class VerificationProbe final : public Exchange {
  public:
    static constexpr Duration answer_within = 30s;

    VerificationProbe(Handle self, Worker& worker, Verification& verification,
                      std::shared_ptr<const Snapshot> snapshot, std::uint32_t pool_index,
                      const policy::VerificationCache::Key& key, std::string_view mailbox,
                      std::uint64_t key_hash);
    VerificationProbe(const VerificationProbe&) = delete;
    VerificationProbe& operator=(const VerificationProbe&) = delete;

    struct Asker {
        Handle client;
        std::uint64_t ticket = 0;
    };

    [[nodiscard]] Handle handle() const { return self_; }
    [[nodiscard]] ExchangeId exchange_id() const { return {ExchangeId::Kind::verification, self_}; }
    [[nodiscard]] const policy::VerificationCache::Key& key() const { return key_; }
    [[nodiscard]] const std::string& mailbox() const { return mailbox_; }
    [[nodiscard]] const std::shared_ptr<const Snapshot>& snapshot() const {
        return access_.snapshot();
    }
    [[nodiscard]] std::vector<Asker>& askers() { return askers_; }
    void timer_fired() { give_up(); }
    void give_up(); // leaves what is under way: unavailable

    // Of Exchange.
    void granted(const upstream::Answer& answer) override;
    void handed_over(const upstream::Answer& answer) override { access_.take_over(answer); }
    void advance() override;
    void on_ready() override { advance(); }
    void on_reply(BackendConnection& connection, smtp::ClientCommand command,
                  const smtp::Reply& reply) override;
    void on_sent(BackendConnection&) override {}
    void on_lost(BackendConnection& connection, observe::ForwardFailure kind) override;

  private:
    void acquire();
    void go_on(bool is_refused);
    void start_over();
    void speak(BackendConnection& current);
    void judge(const smtp::Reply& reply);
    void end(observe::VerificationResult result, const smtp::Reply& reply);

    Handle self_;
    Worker& worker_;
    Verification& verification_;
    BackendAccess access_;
    policy::VerificationCache::Key key_;
    std::string mailbox_;
    std::vector<Asker> askers_;
    Timer timer_;

    bool mail_sent_ = false;
    bool mail_refused_ = false;
    bool recipient_sent_ = false;
    bool ended_ = false;
};

} // namespace ringmx::worker
