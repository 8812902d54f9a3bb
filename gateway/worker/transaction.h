// What a client's connection asks of its transaction, whatever the listener's acknowledge mode: from
// the first routed recipient to the answer to the message.
//
//   client                                   transaction
//   RCPT      ──▶ add_recipient()       ··▶  ClientConnection::answer_recipient()
//   DATA      ──▶ begin_data()          ··▶  answer_data()
//   BDAT      ──▶ begin_chunks()
//   octets    ──▶ content()             ··▶  pause_content(), resume_content()
//   end       ──▶ end_content()         ··▶  answer_message()
//
// Answers may come inside the call or later. A transaction ends itself: the client's connection
// keeps no more than its name.
// Thread: one worker's.
// Errors: replies to the client.
#pragma once

#include "base/bytes.h"
#include "base/slab.h"
#include "observe/counters.h"
#include "observe/log_record.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"
#include "smtp/server_session.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringmx {
class Slice;
}

namespace ringmx::worker {

// Why something is not taken, and how that is counted.
struct Refusal {
    smtp::Reply reply;
    observe::RejectReason reason{};
};

// Why a recipient is not taken, and whose word that is.
struct RecipientRefusal {
    smtp::Reply reply;
    observe::RecipientReason reason{};
    bool unknown = false; // there is no such recipient
    smtp::AnswerSource source = smtp::AnswerSource::own;
};

class Transaction {
  public:
    // `mailbox`: what the backend is told; `key`: its canonical form, which chooses the backend.
    virtual void add_recipient(std::string_view mailbox,
                               const smtp::RecipientParameters& parameters,
                               std::uint32_t pool_index, std::string_view key) = 0;
    // A refusal that is decided already, kept in order behind unanswered ones.
    virtual void refuse_recipient(const RecipientRefusal& refusal, std::string_view mailbox) = 0;
    virtual void begin_data() = 0;   // DATA: answer_data is due
    virtual void begin_chunks() = 0; // the first BDAT
    // False: no memory.
    [[nodiscard]] virtual bool content(const Slice& whole, Bytes part, bool is_literal) = 0;
    virtual void end_content() = 0;
    virtual void client_spoke() = 0; // any octet of the client inside the transaction
    // RSET, EHLO, a refused message, a lost or timed-out client: without the last octet there must
    // be no message.
    virtual void abandon(observe::RejectReason reason) = 0;
    virtual void client_left() = 0; // after its last octet
    // The client is told 421 before the answer: should the message be taken all the same, it comes
    // again.
    virtual void send_client_away() = 0;
    virtual void cut() = 0;     // the drain's end
    virtual void relieve() = 0; // memory is short
    // `after`: the verb that was refused; empty: the message's end.
    virtual void log_message_refusal(const smtp::Reply& reply, observe::RejectReason reason,
                                     std::string_view after) = 0;
    virtual void fail_for_memory() = 0; // 452 4.3.1 at the end of the data; what it holds is freed

    // From here on the message can't be taken back: only its answer is awaited.
    [[nodiscard]] virtual bool is_final_submitted() const = 0;
    [[nodiscard]] virtual bool content_begun() const = 0;
    [[nodiscard]] virtual bool content_ended() const = 0;
    // The client waits for an answer of ours.
    [[nodiscard]] virtual bool owes_client() const = 0;
    [[nodiscard]] virtual std::size_t held_bytes() const = 0;
    [[nodiscard]] virtual std::size_t progress_bytes() const = 0;

  protected:
    ~Transaction() = default;
};

// Which slab of the worker a transaction is in, and its handle there.
struct TransactionId {
    enum class Kind : std::uint8_t { delivery, intake };
    Kind kind = Kind::delivery;
    Handle handle; // the default names nobody
};

} // namespace ringmx::worker
