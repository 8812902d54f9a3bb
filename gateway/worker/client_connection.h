// One client's connection: PROXY header, greeting delay, the SMTP server session on it, limits,
// timeouts, back-pressure, closing.
//
//   proxy_header ─▶ delaying (greeting_delay) ─▶ serving ─▶ lingering ─▶ closed
//                                                           (last reply sent, our end shown, the
//                                                           client's rest dropped)
//
// Octets go to the session where they lie; what the session can't take yet (an answer is awaited)
// waits in input_, and reading pauses when that grows. Events become calls to the transaction's
// Transaction, whose answers come back through the answer_… functions, at once or later. A connection
// without a transaction holds no input and no line memory: at most 1 KiB in all.
// Thread: one worker's.
// Errors: none; whatever fails ends this connection alone.
// Source: CONTRACT 3 (limits, timeouts), 4; RFC 5321, 4.5.3.2.
#pragma once

#include "base/buffer.h"
#include "base/slab.h"
#include "base/slice_queue.h"
#include "base/timer_wheel.h"
#include "observe/counters.h"
#include "observe/log_record.h"
#include "policy/client_limits.h"
#include "ring/stream.h"
#include "smtp/proxy_header.h"
#include "smtp/server_session.h"
#include "worker/awaited_recipients.h"
#include "worker/tokens.h"
#include "worker/transaction.h"

#include <cstdint>
#include <memory>
#include <string_view>

namespace ringmx::worker {

class Worker;
struct Snapshot;
struct Verdict;

class ClientConnection final : private smtp::RefusalObserver {
  public:
    ClientConnection(Handle self, Worker& worker, std::uint32_t listener_index);

    // An accepted descriptor; the client may be turned away at once.
    void open(int descriptor);

    [[nodiscard]] Handle handle() const { return self_; }
    [[nodiscard]] const IpAddress& client_ip() const { return client_ip_; }
    [[nodiscard]] std::uint16_t client_port() const { return client_port_; }
    [[nodiscard]] bool is_unix_peer() const { return is_unix_peer_; }
    [[nodiscard]] std::uint64_t client_key() const { return ticket_.client_key; }
    [[nodiscard]] smtp::ServerSession& session() { return session_; }
    [[nodiscard]] const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }
    [[nodiscard]] Instant last_octet_at() const { return last_octet_at_; }

    // A transaction's answers. The session goes on with waiting input when the outermost call returns
    // (resume()).
    // `reason`: why, where the reply is a refusal.
    void answer_recipient(const smtp::Reply& reply, smtp::AnswerSource source, bool unknown,
                          observe::RecipientReason reason);
    void answer_data(const smtp::Reply& reply, observe::RejectReason reason);
    // Verification's: it was asked for a recipient of this transaction, or of an earlier one.
    void recipient_verified(std::uint64_t ticket, const Verdict& verdict);
    // Ends the transaction for the client. The transaction is forgotten unless content is still to be
    // dropped; it has counted what became of the message.
    void answer_message(const smtp::Reply& reply);
    // Content: reading pauses while the transaction holds too much, and goes on when told.
    void pause_content();
    void resume_content();
    [[nodiscard]] bool content_paused() const { return content_paused_; }
    // Runs the session on what waits, flushes replies, adjusts reading and timers.
    void resume();

    void drain();                 // idle: 421 4.3.2; else resume() sees to it after its transaction
    void cut();                   // 421 4.3.2 now; then closed as soon as that is sent
    void configuration_changed(); // a new snapshot: taken when no transaction is open
    // Memory is short: what waits leaves receive buffers, and is not added to.
    void relieve();
    void fail_for_memory(); // 421 4.3.1, so that others can go on
    // Commands that wait for us, and replies that the client does not read.
    [[nodiscard]] std::size_t waiting_bytes() const {
        return input_.bytes() + stream_.unsent_bytes();
    }
    // The last octet of its message is with a backend, the answer is not here.
    [[nodiscard]] bool awaits_final_reply();

    void complete(ring::StreamOperation operation, const ring::Completion& completion,
                  Slice&& octets);
    bool arm_receive(); // a starved receive's turn; true: it is armed again
    void timer_fired();
    [[nodiscard]] Timer& timer() { return timer_; }

  private:
    enum class State : std::uint8_t { proxy_header, delaying, serving, lingering, closing };

    // After our last reply the client may still be sending; closing at once would make the kernel
    // reset the connection, and the reply could be lost with it. What comes meanwhile is dropped.
    static constexpr Duration linger_time = 2s;

    // Opening.
    void begin_serving();
    void greet();
    void refuse_by_limit(policy::AdmissionVerdict verdict);
    void refuse(const smtp::Reply& reply, observe::RefuseReason reason, Duration linger_time);
    void read_proxy_header(Slice octets);

    // The session.
    void received(Slice octets);
    void process();
    [[nodiscard]] Bytes session_input(Bytes waiting) const;
    void run_event(const smtp::ServerSession::Step& step, const Slice& input);
    void on_mail();
    [[nodiscard]] bool spools() const;
    [[nodiscard]] std::optional<Refusal> want_of_room();
    void on_recipient();
    void verify(const RoutedRecipient& recipient);
    [[nodiscard]] std::optional<RecipientRefusal> refusal_of(const Verdict& verdict) const;
    void await(const RoutedRecipient& recipient, std::uint64_t ticket);
    void refuse_in_order(const RecipientRefusal& refusal);
    void forget_awaited();
    void take_recipient(const RoutedRecipient& recipient);
    void refuse_recipient(const RecipientRefusal& refusal, std::string_view mailbox);
    void on_data();
    void begin_content();
    void on_content(const smtp::ServerSession::Step& step, const Slice& input);
    void on_content_refused();
    void on_content_end();
    void on_close();
    void transaction_over();
    [[nodiscard]] bool has_drained();
    [[nodiscard]] bool awaits_content() const;
    void abandon(observe::RejectReason reason);

    // The session's own refusals of envelope commands.
    void mail_refused(std::string_view argument, const smtp::Reply& reply) override;
    void recipient_refused(std::string_view argument, const smtp::Reply& reply) override;

    // What becomes of the transaction, counted once.
    void reserve_room();
    void release_room();
    void begin_count();
    void count_rejected(observe::RejectReason reason);
    void note_recipient_refusal(observe::RecipientReason reason);
    void finish_output();
    [[nodiscard]] bool holds_replies();
    void adjust_reading();
    [[nodiscard]] bool owes_answer();

    // Time.
    void set_timer();
    [[nodiscard]] Instant serving_deadline() const;
    void serving_timer_fired();
    void check_data_rate();
    void begin_rate_window();
    void run_rate_clock();

    // The end.
    void fail(const smtp::Reply& reply, observe::RejectReason reason);
    void peer_ended(bool lost);
    void end_by_client(bool lost);
    void linger(Duration time);
    void close(bool reset = false);
    void closed();

    void log_client(observe::LogEvent event, std::string_view detail);
    void log_limit(observe::LogEvent event, std::uint64_t limit);
    void log_after(observe::LogEvent event);
    void log_disconnect();
    void log_sender_refusal(std::string_view sender, const smtp::Reply& reply,
                            observe::RejectReason reason);
    void log_recipient_refusal(std::string_view mailbox, const smtp::Reply& reply,
                               observe::RecipientReason reason);
    [[nodiscard]] std::string_view phase_word() const; // "CONNECT", "RCPT", "DATA": for log lines
    [[nodiscard]] Transaction* begin_transaction();    // null: no memory
    [[nodiscard]] Transaction* open_transaction() {
        return transaction_.handle ? find_transaction() : nullptr;
    }
    [[nodiscard]] Transaction* find_transaction();

    Handle self_;
    Worker& worker_;
    std::shared_ptr<const Snapshot> snapshot_;
    ring::Stream stream_;
    Timer timer_;
    smtp::ServerSession session_;
    smtp::ProxyHeader proxy_header_;
    policy::ClientTicket ticket_;
    IpAddress client_ip_;
    TransactionId transaction_;
    SliceQueue input_;                           // not yet taken by the session
    std::unique_ptr<AwaitedRecipients> awaited_; // null: none
    Instant opened_at_;
    Instant last_octet_at_;
    // timeouts.command counts from here: a dripped line does not prolong it.
    Instant last_command_at_;
    Instant last_sent_at_;
    Instant replies_due_ = never; // when the replies that wait for others leave without them
    // The data rate's clock: runs while content is waited for, in windows.
    Instant rate_resumed_at_;
    Duration rate_elapsed_{0};
    std::uint64_t rate_bytes_ = 0;
    std::uint64_t reserved_bytes_ = 0; // in the spool, between MAIL and the first RCPT
    std::uint32_t listener_index_;
    std::uint32_t errors_counted_ = 0;
    std::uint32_t commands_counted_ = 0;
    std::uint16_t client_port_ = 0;
    // What will be counted in place of how the transaction is given up; count_: nothing yet.
    observe::RejectReason failure_ = observe::RejectReason::count_;
    State state_ = State::serving;
    bool is_unix_peer_ : 1 = false;
    bool is_trusted_peer_ : 1 = false;
    bool processing_ : 1 = false;
    bool blocked_ : 1 = false;
    bool wants_input_ : 1 = false; // all that came is used up
    bool content_paused_ : 1 = false;
    bool rate_running_ : 1 = false;
    bool starved_ : 1 = false;    // its receive waits for a buffer: our fault, not its silence
    bool spare_shed_ : 1 = false; // the session holds nothing that only a session at work needs
    bool saw_close_ : 1 = false;  // the session ended it: QUIT, or our own last reply
    bool input_ended_ : 1 = false;
    bool owes_count_ : 1 = false;    // a transaction is open whose end nobody has counted
    bool data_waits_ : 1 = false;    // DATA came, some of its recipients have no answer yet
    bool has_recipient_ : 1 = false; // of that transaction: one was accepted
};

} // namespace ringmx::worker
