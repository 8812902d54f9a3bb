// What one worker says about its part of the queue when main asks, and the changes that operators
// make to it.
//
//   ask(list, show)  ─▶ index, in order of age ─▶ each candidate's record is read ─▶ rows ─▶ answer
//   ask(retry_all)   ─▶ index, in order of age ─▶ due now ─▶ answer
//   ask(hold, …)     ─▶ memory changes, a mark is appended ─▶ durable ─▶ answer
//
// Paced:  looks_per_turn entries of the index a turn, reads_at_once records at a time; one question
//         that has to look around at a time, the others wait. Under pressure of memory a list ends
//         where it is.
// Order:  memory changes when the mark is appended, so that it follows the order of marks on the disk;
//         removal alone waits until its mark is durable, since it frees what a restart would need.
//         One change of a message at a time; one of a message that is being moved waits.
// Bounds: main's, on how many questions there are; reads_max and looks_max of one answer.
// Thread: one worker's.
// Errors: are answers.
#pragma once

#include "base/messages/queue_messages.h"
#include "base/slab.h"
#include "spool/queue_index.h"
#include "spool/stored_message.h"
#include "worker/spool_log.h"

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::worker {

class MailQueue;
class Worker;

class QueueAnswers {
  public:
    static constexpr std::uint32_t record_part = UINT32_MAX; // of SpoolLog::read()
    static constexpr std::uint32_t looks_per_turn = 256;     // some 30 µs
    static constexpr std::uint32_t looks_max = 100'000;
    static constexpr std::uint32_t reads_at_once = 4;
    static constexpr std::uint32_t reads_max = 1000;
    static constexpr Duration memory_wait = 100ms; // before a read is tried again

    QueueAnswers(Worker& worker, MailQueue& queue);
    QueueAnswers(const QueueAnswers&) = delete;
    QueueAnswers& operator=(const QueueAnswers&) = delete;

    void ask(QueueQuestion question);
    void on_record(Handle reader, const ReadRecord& record);
    // The mark of MailQueue::await_mark() is durable, or could not be written.
    void mark_over(Handle command, int error);
    void run(); // once a turn
    [[nodiscard]] Instant deadline() const;
    void drain(); // nothing is begun any more

  private:
    using Slot = spool::QueueIndex::Slot;
    // A question that looks around.
    struct Search {
        QueueQuestion question;
        QueueAnswer answer;         // in the making; a row of id 0 was found not to belong
        std::uint32_t number = 0;   // its records come back with it
        std::uint32_t looks = 0;    // at entries of the index
        std::uint32_t reads = 0;    // begun
        std::uint32_t reading = 0;  // of those, under way
        std::uint32_t kept = 0;     // rows that belong
        std::size_t rows_bytes = 0; // of those
        bool is_over = false;       // but for what is under way
    };
    struct Command {
        Handle self;
        QueueQuestion question;
        explicit Command(Handle handle) : self(handle) {}
    };

    void change(QueueQuestion question);
    void begin(Command& command);
    [[nodiscard]] bool advance(Search& search);
    [[nodiscard]] bool look(Search& search);
    [[nodiscard]] bool look_for_one(Search& search);
    void make_due(Search& search, Slot slot);
    [[nodiscard]] bool begin_read(Search& search, Slot slot);
    [[nodiscard]] bool may_match(const QueueFilter& filter, Slot slot) const;
    [[nodiscard]] bool matches(const QueueFilter& filter, const spool::StoredMessage& message,
                               const QueueRow& row);
    [[nodiscard]] std::vector<std::string> recipients_wanted(const QueueFilter& filter);
    [[nodiscard]] bool goes_to(const QueueFilter& filter, const spool::StoredMessage& message,
                               const QueueRow& row);
    [[nodiscard]] bool has_choice(std::string_view backend, const spool::StoredMessage& message,
                                  std::size_t recipient);
    void describe(QueueRow& row, Slot slot) const;
    void describe(QueueRow& row, Slot slot, const spool::StoredMessage& message);
    void describe_pools(QueueRow& row, const spool::StoredMessage& message);
    void finish(Search& search);
    void answer(const QueueQuestion& question, QueueAnswer::Result result, int error = 0);
    void log_change(const QueueQuestion& question);

    Worker& worker_;
    MailQueue& queue_;
    std::deque<Search> searches_; // the first one is at work
    Slab<Command> commands_;
    std::vector<Handle> waiting_; // commands whose messages are being moved
    std::string address_;         // scratch: an address in canonical form
    std::uint32_t last_number_ = 0;
    Instant wait_until_{};        // for memory
    bool waits_for_read_ = false; // nothing is to be done before one is over
    bool is_draining_ = false;
};

} // namespace ringmx::worker
