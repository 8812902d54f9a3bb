// One transaction on its way to a backend, in `backend` mode: from its first routed recipient to
// the backend's last word.
//
//   client                                   backend
//   RCPT      ──▶ add_recipient()       ──▶  MAIL, RCPT (pipelined)
//             ◀── answer_recipient
//   DATA/BDAT ──▶ begin_content()       ──▶  DATA | BDAT
//             ◀── answer_data
//   octets    ──▶ content()             ──▶  octets
//   end       ──▶ end_content()
//             ◀── answer_message        ◀──  final reply
//
// Choice: the first accepted recipient fixes the backend; while none is accepted, the next
//         recipient chooses anew. A recipient waits for those before it when it depends on their
//         fate; answers leave in order. Another backend is tried while every octet sent is still
//         held and the send with the body's last octet has not been submitted: the envelope is
//         replayed, and an answer that changed makes the end of data 451 4.4.1. After two drops
//         there is no third.
// Hold:   a client that is silent for backend_hold gives the connection back; its next word replays
//         the envelope. A client that leaves before its last octet leaves the backend without the
//         end of data; one that leaves after it changes nothing.
// Bounds: content held in memory is at most window_bytes_max beyond what is being sent; recipients
//         by the session's limit.
// Thread: one worker's.
// Errors: replies to the client.
// Source: CONTRACT 4 (backend mode); RFC 5321, 4.5.4.1; RFC 3030; RFC 2033.
#pragma once

#include "base/address.h"
#include "base/slab.h"
#include "base/timer_wheel.h"
#include "observe/counters.h"
#include "smtp/client_session.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"
#include "smtp/server_session.h"
#include "upstream/connection_book.h"
#include "worker/backend_access.h"
#include "worker/content.h"
#include "worker/exchange.h"
#include "worker/tokens.h"
#include "worker/transaction.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ringmx::worker {

class ClientConnection;
class Worker;

// A message is streamed to its backend from this on; reading from the client pauses above
// window_bytes_max held.
inline constexpr std::size_t window_bytes_max = 2 * replayable_bytes_max;

class Delivery final : public Transaction, public Exchange {
  public:
    Delivery(Handle self, Worker& worker, ClientConnection& client);

    [[nodiscard]] Handle handle() const { return self_; }
    [[nodiscard]] ExchangeId exchange_id() const { return {ExchangeId::Kind::delivery, self_}; }

    // Of Transaction.
    void add_recipient(std::string_view mailbox, const smtp::RecipientParameters& parameters,
                       std::uint32_t pool_index, std::string_view key) override;
    void refuse_recipient(const RecipientRefusal& refusal, std::string_view mailbox) override;
    void begin_data() override;
    void begin_chunks() override;
    [[nodiscard]] bool content(const Slice& whole, Bytes part, bool is_literal) override;
    void end_content() override;
    void client_spoke() override;
    void abandon(observe::RejectReason reason) override;
    void client_left() override { client_ = {}; }
    void send_client_away() override;
    void cut() override;
    void relieve() override;
    void log_message_refusal(const smtp::Reply& reply, observe::RejectReason reason,
                             std::string_view after) override;
    void fail_for_memory() override;
    [[nodiscard]] bool is_final_submitted() const override { return final_submitted_; }
    [[nodiscard]] bool content_ended() const override { return content_ended_; }
    [[nodiscard]] bool owes_client() const override {
        return first_unanswered_ < recipients_.size() || data_requested_ || content_ended_;
    }
    [[nodiscard]] bool content_begun() const override { return content_begun_; }
    [[nodiscard]] std::size_t held_bytes() const override { return content_.held_bytes(); }
    [[nodiscard]] std::size_t progress_bytes() const override { return content_.received_bytes(); }

    // Of Exchange.
    void granted(const upstream::Answer& answer) override;
    void handed_over(const upstream::Answer& answer) override { access_.take_over(answer); }
    void advance() override;
    void on_ready() override { advance(); }
    void on_reply(BackendConnection& connection, smtp::ClientCommand command,
                  const smtp::Reply& reply) override;
    void on_sent(BackendConnection& connection) override;
    void on_lost(BackendConnection& connection, observe::ForwardFailure kind) override;

    void timer_fired();
    [[nodiscard]] Timer& timer() { return timer_; }

  private:
    enum class Fate : std::uint8_t { waiting, asked, accepted, refused };
    struct Recipient {
        std::string mailbox;
        std::string original_recipient; // as RCPT said, like `notify`
        std::uint64_t key_hash = 0;
        std::uint32_t pool_index = 0;
        Fate fate = Fate::waiting;
        std::uint8_t notify = 0;
        bool unknown = false;
        smtp::AnswerSource source = smtp::AnswerSource::own;
        observe::RecipientReason reason = observe::RecipientReason::count_; // of a refusal
        smtp::OwnedReply reply; // while it waits for those before it
    };

    // Choosing a backend.
    void acquire();
    [[nodiscard]] bool wants_backend() const;
    [[nodiscard]] bool same_choice(const Recipient& recipient) const;
    void unavailable(BackendAccess::Refusal refusal);
    void drop_connection();   // leaves it in the cleanest way that its state allows
    void start_over();        // forgets the attempt; what was accepted is to be replayed
    void change_connection(); // leaves it in good order, the envelope goes on over another one

    // The envelope.
    void ask();
    [[nodiscard]] bool may_ask(Recipient& recipient);
    [[nodiscard]] std::optional<smtp::Reply> want_of(const Recipient& recipient);
    void mail_reply(const smtp::Reply& reply);
    void recipient_reply(const smtp::Reply& reply);
    void settle_recipient(Recipient& recipient, const smtp::Reply& reply, smtp::AnswerSource source,
                          bool unknown, observe::RecipientReason reason);
    void flush_answers();
    void forget_refused_recipients();
    Recipient& append_recipient(std::string_view mailbox,
                                const smtp::RecipientParameters& parameters = {});
    void count_envelope(std::ptrdiff_t bytes);
    [[nodiscard]] static std::ptrdiff_t bytes_of(const Recipient& recipient) {
        return static_cast<std::ptrdiff_t>(sizeof recipient + recipient.mailbox.size() +
                                           recipient.original_recipient.size());
    }
    void envelope_changed();
    void forget_refused_mail();
    void refuse_by_backend(Recipient& recipient, const smtp::Reply& reply, std::string_view after);
    void send_commands();

    // The content.
    void request_data();
    void settle_empty_data(); // DATA with no recipient left: the session says 554
    [[nodiscard]] bool is_content_full() const;
    void release_client(); // goes on reading when enough has been sent
    void let_client_send();
    void submit_final(BackendConnection& current);
    void data_reply(const smtp::Reply& reply);
    void pump();
    [[nodiscard]] bool fill_outgoing(WireForm form);
    void pump_data(BackendConnection& current);
    void pump_chunk(BackendConnection& current);
    void chunk_reply(const smtp::Reply& reply);
    void final_reply(const smtp::Reply& reply);
    [[nodiscard]] Bytes write_trace_field(); // valid until the next one of the worker
    void note_content();
    void send_all(BackendConnection& current, SliceList& outgoing);
    [[nodiscard]] bool envelope_settled() const;

    // The end.
    void fail_over(BackendConnection& connection, observe::ForwardFailure kind);
    void doom(const smtp::Reply& reply, observe::RejectReason reason);
    void say_doom();
    void fail_message(const smtp::Reply& reply, observe::RejectReason reason);
    // What became of the message: counted, a refusal logged, and the client told if it is there.
    void accept_message(const smtp::Reply& reply);
    void refuse_message(const smtp::Reply& reply, observe::RejectReason reason);
    void answer_client(const smtp::Reply& reply);
    void refuse_data(const smtp::Reply& reply, observe::RejectReason reason);
    void end();

    void count_refusal(std::string_view after, const smtp::Reply& reply);
    void log_wait();
    void log_final(const BackendConnection& taker, const smtp::Reply& reply);
    void log_refusal(const Recipient& recipient, const smtp::Reply& reply);
    void set_hold_timer();
    [[nodiscard]] ClientConnection* client();
    [[nodiscard]] const Pool& pool() const { return access_.pool(); }

    Handle self_;
    Worker& worker_;
    BackendAccess access_;
    Handle client_;
    Timer timer_;
    smtp::MailCommand mail_;
    std::vector<Recipient> recipients_;
    std::uint32_t first_unanswered_ = 0;
    // Recipients before it are asked, refused, or skipped in this attempt.
    std::uint32_t next_to_ask_ = 0;
    std::uint32_t accepted_ = 0; // 250 was said to the client
    IpAddress client_ip_;
    std::uint16_t client_port_ = 0;
    std::string hello_name_;
    bool esmtp_ = false;
    bool is_unix_peer_ = false;

    // The attempt under way.
    std::vector<std::uint32_t> asked_; // recipients whose RCPT reply is due, in order
    std::size_t asked_first_ = 0;
    std::uint32_t accepted_here_ = 0; // in this attempt
    smtp::OwnedReply mail_refusal_;   // code 0: none
    bool mail_sent_ = false;
    bool mail_answered_ = false;
    bool data_sent_ = false;
    bool data_ready_ = false; // 354 came, or BDAT needs none
    bool by_chunks_ = false;  // this attempt uses BDAT
    bool body_begun_ = false; // octets of the body, or BDAT, were sent
    bool final_submitted_ = false;
    bool refused_here_ = false; // somebody was, in this attempt
    Instant offered_at_{};

    std::uint32_t drops_ = 0;
    bool held_ = false;           // given back for the client's silence
    bool data_requested_ = false; // the client's DATA waits for its answer
    bool content_begun_ = false;
    bool content_ended_ = false;
    bool ended_ = false;
    bool advancing_ = false;
    bool again_ = false;
    bool changed_ = false;    // doomed since an answer changed: that is said at the end of the data
    smtp::OwnedReply doomed_; // code 0: not doomed
    observe::RejectReason doomed_reason_{};
    Content content_;
    std::string id_;
    std::uint64_t content_bytes_ = 0;
    std::ptrdiff_t envelope_bytes_ = 0; // as counted with the worker
    bool starts_with_space_ = false;
    Instant content_ended_at_{};
};

} // namespace ringmx::worker
