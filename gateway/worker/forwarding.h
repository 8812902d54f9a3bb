// One copy of a message on its way from the spool to one backend: some of its recipients, one
// transaction.
//
//   acquire ─▶ connection ─▶ MAIL, RCPT…, and with PIPELINING and CHUNKING also BDAT LAST and the
//                            content, all in one send ─▶ replies ─▶ outcome of each recipient
//
// Without one of the two: DATA pipelined, or one command after the other. A message of chunks is read
// as it is sent, one chunk ahead of nothing: the envelope is settled first.
// Choice: the hash's, among the backends that are usable. Another one is tried at once while no send
//         with the content's last octet has been submitted, at most after one drop; what can't be
//         told then (a possible duplicate) is tried again on schedule.
// Refused: as many as one connection may have refusals; who is not asked then is asked over another
//         one, in a transaction of its own.
// Content: the dispatch's slices while it has them, else read from the log.
// Bounds: a chunk and what of it is not sent yet.
// Thread: one worker's.
// Errors: Outcome of each recipient.
// Source: CONTRACT 4 (spool mode, backends' extensions); RFC 5321, 2920, 3030, 2033, 3461.
#pragma once

#include "base/slab.h"
#include "smtp/reply.h"
#include "upstream/connection_book.h"
#include "worker/backend_access.h"
#include "worker/content.h"
#include "worker/dispatch.h"
#include "worker/exchange.h"
#include "worker/spool_log.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ringmx::worker {

class MailQueue;
class Worker;

class Forwarding final : public Exchange {
  public:
    // `recipients`: indexes in the dispatch's message.
    Forwarding(Handle self, Worker& worker, MailQueue& queue, Dispatch& dispatch,
               std::uint32_t pool_index, std::uint64_t key_hash,
               std::span<const std::uint32_t> recipients);
    Forwarding(const Forwarding&) = delete;
    Forwarding& operator=(const Forwarding&) = delete;

    [[nodiscard]] Handle handle() const { return self_; }
    [[nodiscard]] ExchangeId exchange_id() const { return {ExchangeId::Kind::forwarding, self_}; }
    // No connection yet: it can be given up without a trace.
    [[nodiscard]] bool is_waiting() const { return access_.is_waiting(); }
    void give_up(); // ends without an outcome
    void cut();     // the same, in whatever state
    void on_chunk(std::uint32_t part, const ReadRecord& record);
    void go_on(); // memory may be free again

    // Of Exchange.
    void granted(const upstream::Answer& answer) override;
    void handed_over(const upstream::Answer& answer) override {
        access_.take_over(answer);
        tell_queue();
    }
    void advance() override;
    void on_ready() override { advance(); }
    void on_reply(BackendConnection& connection, smtp::ClientCommand command,
                  const smtp::Reply& reply) override;
    void on_sent(BackendConnection& connection) override;
    void on_lost(BackendConnection& connection, observe::ForwardFailure kind) override;

  private:
    enum class Fate : std::uint8_t { waiting, asked, accepted, settled };
    struct Recipient {
        std::uint32_t index = 0;
        Fate fate = Fate::waiting;
    };

    void acquire();
    void start_over();
    void try_another(BackendConnection& lost, observe::ForwardFailure kind);

    // What this backend can't take fails for good.
    void judge_by_capabilities(BackendConnection& current);
    void send_envelope(BackendConnection& current);
    void ask(BackendConnection& current);
    void send_mail(BackendConnection& current);
    [[nodiscard]] bool has_everything() const; // the content is in memory whole
    // Nobody more is asked over this connection, and all replies are there.
    [[nodiscard]] bool is_envelope_settled(const BackendConnection& current) const;
    void begin_content(BackendConnection& current);
    void pump(BackendConnection& current);
    [[nodiscard]] bool fill(WireForm form);
    void send_chunk(BackendConnection& current, bool is_last);
    void send_data(BackendConnection& current, bool is_last);
    void send_all(BackendConnection& current);
    void submit_final(BackendConnection& current);
    void read_next_chunk();

    void mail_reply(const smtp::Reply& reply);
    void recipient_reply(const smtp::Reply& reply);
    void data_reply(const smtp::Reply& reply);
    void content_reply(BackendConnection& from, const smtp::Reply& reply);
    void check_over(BackendConnection& current);

    void settle(Recipient& recipient, const smtp::Reply& reply, std::string_view after);
    void refuse(Recipient& recipient, const smtp::Reply& reply);
    void set_outcome(Recipient& recipient, Outcome::Kind kind, const smtp::Reply& reply,
                     bool is_own);
    [[nodiscard]] Outcome::Kind kind_of_success(const Recipient& recipient,
                                                BackendConnection& taker);
    void settle_rest(const smtp::Reply& reply, std::string_view after);
    void no_backend(BackendAccess::Refusal refusal);
    void leave(BackendConnection& current);
    void end();
    void tell_queue();

    void log_delivered(const BackendConnection& taker, const smtp::Reply& reply);
    void note_duplicate();
    [[nodiscard]] const Pool& pool() const { return access_.pool(); }

    Handle self_;
    Worker& worker_;
    MailQueue& queue_;
    Dispatch& dispatch_; // which outlives it
    BackendAccess access_;
    std::vector<Recipient> recipients_;
    Content content_;
    std::uint32_t next_chunk_ = 0;
    bool is_reading_ = false;

    // The attempt under way.
    std::uint32_t drops_ = 0;
    bool was_dialed_ = false;   // a backend, and the connection was lost
    bool was_answered_ = false; // by a backend whose connection was lost then
    std::uint32_t next_to_ask_ = 0;
    std::uint32_t first_unanswered_ = 0;   // of those asked
    std::uint32_t accepted_ = 0;           // here
    std::vector<std::uint32_t> taken_now_; // whom the last reply to the content is about
    smtp::OwnedReply mail_refusal_;        // code 0: none
    Instant offered_at_{};
    bool is_judged_ = false;
    bool mail_sent_ = false;
    bool mail_answered_ = false;
    bool data_sent_ = false;
    bool content_begun_ = false; // octets of it, or BDAT, may be sent
    bool by_chunks_ = false;
    bool body_begun_ = false; // the trace field is sent
    bool final_submitted_ = false;
    bool content_refused_ = false;
    bool is_taken_ = false; // here, by somebody
    bool advancing_ = false;
    bool again_ = false;
    bool ended_ = false;
    bool has_waited_ = false; // for a connection, and the queue knows
    bool has_begun_ = false;  // it had one, and the queue knows
};

} // namespace ringmx::worker
