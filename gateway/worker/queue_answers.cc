#include "worker/queue_answers.h"

#include "worker/choice_key.h"
#include "worker/mail_queue.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/domain.h"
#include "spool/message_id.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utility>

namespace ringmx::worker {

using Kind = QueueQuestion::Kind;
using Result = QueueAnswer::Result;

namespace {

// Main has not more questions open at a time.
constexpr std::uint32_t commands_max = 64;

// `pattern`: an address, "@" and a domain, or "<>"; in canonical form.
bool is_address(std::string_view pattern, std::string_view mailbox, std::string& scratch) {
    if (pattern.empty()) {
        return true;
    }
    if (mailbox.empty()) {
        return pattern == "<>";
    }
    const std::string_view canonical =
        canonical_mailbox(mailbox, scratch) ? std::string_view(scratch) : mailbox;
    return pattern.front() == '@' ? canonical.ends_with(pattern) : canonical == pattern;
}

std::size_t bytes_of(const QueueRow& row) {
    std::size_t bytes = sizeof row + row.sender.size() + row.pool.size();
    for (const QueueRow::Recipient& recipient : row.recipients) {
        bytes += sizeof recipient + recipient.address.size() + recipient.last_reply.size() +
                 recipient.pool.size();
    }
    return bytes;
}

} // namespace

QueueAnswers::QueueAnswers(Worker& worker, MailQueue& queue)
    : worker_(worker), queue_(queue), commands_(commands_max) {}

void QueueAnswers::ask(QueueQuestion question) {
    if (is_draining_) {
        answer(question, Result::busy);
        return;
    }
    switch (question.kind) {
    case Kind::list:
    case Kind::show:
    case Kind::retry_all: {
        Search& search = searches_.emplace_back();
        search.number = ++last_number_;
        search.answer.next = question.after;
        search.question = std::move(question);
        return;
    }
    case Kind::retry:
    case Kind::hold:
    case Kind::release:
    case Kind::remove:
        change(std::move(question));
        return;
    }
}

void QueueAnswers::change(QueueQuestion question) {
    bool is_changing = false;
    commands_.for_each(
        [&](const Command& other) { is_changing |= other.question.id == question.id; });
    Command* const command = is_changing ? nullptr : commands_.create();
    if (command == nullptr) {
        answer(question, Result::busy);
        return;
    }
    command->question = std::move(question);
    begin(*command);
}

void QueueAnswers::begin(Command& command) {
    const std::optional<Slot> slot = queue_.index().find(command.question.id);
    if (!slot) {
        answer(command.question, Result::unknown);
        commands_.destroy(command);
        return;
    }
    if (queue_.is_moving(*slot)) {
        waiting_.push_back(command.self);
        return;
    }
    switch (command.question.kind) {
    case Kind::hold:
        queue_.await_mark(*slot, spool::MarkKind::hold, command.self);
        queue_.hold(*slot);
        return;
    case Kind::retry:
    case Kind::release:
        queue_.await_mark(*slot, spool::MarkKind::release, command.self);
        queue_.release(*slot);
        return;
    case Kind::remove:
        queue_.await_mark(*slot, spool::MarkKind::removed, command.self);
        return;
    case Kind::list:
    case Kind::show:
    case Kind::retry_all:
        RINGMX_ASSERT(false);
    }
}

void QueueAnswers::mark_over(Handle handle, int error) {
    Command& command = commands_.existing(handle);
    const QueueQuestion question = std::move(command.question);
    commands_.destroy(command);
    const std::optional<Slot> slot = queue_.index().find(question.id);
    if (slot) {
        queue_.mark_is_over(*slot);
    }
    if (error != 0) {
        answer(question, Result::not_durable, error);
        return;
    }
    log_change(question);
    if (question.kind == Kind::remove && slot) { // else it was delivered, and is gone as well
        queue_.remove(*slot);
    }
    answer(question, Result::done);
}

void QueueAnswers::run() {
    waits_for_read_ = false;
    for (const Handle handle : std::exchange(waiting_, {})) {
        begin(*commands_.find(handle));
    }
    while (!searches_.empty() && advance(searches_.front())) {
        finish(searches_.front());
        searches_.pop_front();
    }
}

Instant QueueAnswers::deadline() const {
    if (searches_.empty() || waits_for_read_) {
        return never;
    }
    return std::max(wait_until_, worker_.now());
}

// Whether it is over.
bool QueueAnswers::advance(Search& search) {
    if (worker_.now() < wait_until_) {
        return false;
    }
    for (std::uint32_t looks = 0; !search.is_over; ++looks) {
        if (looks == looks_per_turn) {
            return false;
        }
        const bool goes_on = search.question.kind == Kind::show ? look_for_one(search) //
                                                                : look(search);
        if (!goes_on) {
            return false;
        }
    }
    waits_for_read_ = search.reading > 0;
    return search.reading == 0;
}

// At the next message in order of age. False: there is something to wait for.
bool QueueAnswers::look(Search& search) {
    const bool reads = search.question.kind == Kind::list;
    const bool is_full = search.kept == search.question.limit;
    if (reads && !is_full &&
        (search.reading == reads_at_once ||
         search.kept + search.reading == search.question.limit)) {
        waits_for_read_ = true;
        return false;
    }
    QueueAnswer& answer = search.answer;
    const std::optional<Slot> slot = queue_.index().first_after(answer.next);
    const bool is_enough = is_full || search.looks == looks_max || search.reads == reads_max ||
                           search.rows_bytes >= QueueAnswer::rows_bytes_max ||
                           worker_.pressure() != Pressure::none;
    if (!slot || (reads && is_enough)) {
        answer.is_end = !slot;
        search.is_over = true;
        return true;
    }
    ++search.looks;
    const std::uint64_t age = queue_.index().at(*slot).age;
    if (!reads) {
        make_due(search, *slot);
    } else if (may_match(search.question.filter, *slot) && !begin_read(search, *slot)) {
        return false;
    }
    answer.next = age;
    return true;
}

bool QueueAnswers::look_for_one(Search& search) {
    const std::optional<Slot> slot = queue_.index().find(search.question.id);
    if (slot && worker_.pressure() == Pressure::none && !begin_read(search, *slot)) {
        return false;
    }
    search.is_over = true;
    return true;
}

// What is held stays so, by whomever; what is being forwarded is.
void QueueAnswers::make_due(Search& search, Slot slot) {
    switch (queue_.index().state(slot)) {
    case QueueState::due:
    case QueueState::parked:
        queue_.index().set_due(slot, worker_.now());
        ++search.answer.changed;
        return;
    case QueueState::active:
    case QueueState::on_hold:
    case QueueState::pool_hold:
    case QueueState::failed:
        return;
    }
}

bool QueueAnswers::begin_read(Search& search, Slot slot) {
    const spool::QueueEntry& entry = queue_.index().at(slot);
    const Handle reader{static_cast<std::uint32_t>(search.answer.rows.size()), search.number};
    const spool::RecordPlace place{entry.segment, entry.offset,
                                   static_cast<std::uint32_t>(entry.record_bytes)};
    if (!queue_.log().read(place, entry.id, reader, record_part)) {
        wait_until_ = worker_.now() + memory_wait;
        return false;
    }
    QueueRow& row = search.answer.rows.emplace_back();
    row.id = entry.id;
    row.age = entry.age;
    ++search.reads;
    ++search.reading;
    return true;
}

void QueueAnswers::on_record(Handle reader, const ReadRecord& record) {
    if (searches_.empty() || searches_.front().number != reader.generation) {
        return; // given up
    }
    Search& search = searches_.front();
    QueueRow& row = search.answer.rows[reader.slot];
    --search.reading;
    const std::optional<Slot> slot = queue_.index().find(row.id);
    if (!slot) {
        row.id = 0; // it left meanwhile
        return;
    }
    const QueueFilter& filter = search.question.filter;
    std::size_t content_start = 0;
    describe(row, *slot);
    if (const auto message = head_of(record, content_start)) {
        describe(row, *slot, *message);
        if (!matches(filter, *message, row)) {
            row = {};
            return;
        }
    } else if (!filter.recipient.empty() || !filter.sender.empty() || !filter.backend.empty() ||
               (!filter.pool.empty() && row.pool != filter.pool)) {
        row = {};
        return;
    }
    ++search.kept;
    search.rows_bytes += bytes_of(row);
}

// By what the index knows.
bool QueueAnswers::may_match(const QueueFilter& filter, Slot slot) const {
    const spool::QueueEntry& entry = queue_.index().at(slot);
    if (filter.state && *filter.state != queue_.index().state(slot)) {
        return false;
    }
    // Of several recipients it may be the pool that some of them wait for; of routes that have changed,
    // another one than it is by now.
    const bool knows_pool = entry.recipients_count == 1 && entry.pool != spool::no_pool &&
                            queue_.places().pool_index(entry.pool) != WaitingPlaces::none;
    if (!filter.pool.empty() && knows_pool &&
        filter.pool != queue_.places().pool_name(entry.pool)) {
        return false;
    }
    const WallTime created{std::chrono::seconds(entry.accepted_at_s)};
    return filter.older_than == Duration{} || worker_.wall_time() - created > filter.older_than;
}

bool QueueAnswers::matches(const QueueFilter& filter, const spool::StoredMessage& message,
                           const QueueRow& row) {
    const std::vector<std::string> wanted = recipients_wanted(filter);
    return is_address(filter.sender, message.reverse_path, address_) &&
           std::ranges::any_of(message.recipients,
                               [&](const spool::StoredRecipient& recipient) {
                                   return std::ranges::any_of(wanted, [&](std::string_view one) {
                                       return is_address(one, recipient.mailbox, address_);
                                   });
                               }) &&
           goes_to(filter, message, row);
}

// As is_address() takes them: each will do. <Postmaster> is what the routes of now make of it.
std::vector<std::string> QueueAnswers::recipients_wanted(const QueueFilter& filter) {
    if (filter.recipient != bare_postmaster) {
        return {filter.recipient};
    }
    std::vector<std::string> wanted = {std::string("@") + bare_postmaster};
    (void)worker_.snapshot()->routes->find_mailbox(bare_postmaster, address_);
    if (!address_.empty()) {
        wanted.push_back(address_);
    }
    return wanted;
}

// Some recipient for whom something is left to do.
bool QueueAnswers::goes_to(const QueueFilter& filter, const spool::StoredMessage& message,
                           const QueueRow& row) {
    if (filter.pool.empty() && filter.backend.empty()) {
        return true;
    }
    for (std::size_t index = 0; index < row.recipients.size(); ++index) {
        const QueueRow::Recipient& recipient = row.recipients[index];
        const bool is_over = recipient.state == RecipientState::delivered ||
                             recipient.state == RecipientState::bounced;
        if (is_over || (!filter.pool.empty() && recipient.pool != filter.pool)) {
            continue;
        }
        if (filter.backend.empty() || has_choice(filter.backend, message, index)) {
            return true;
        }
    }
    return false;
}

// Whether the hash's first choice for this recipient is that backend.
bool QueueAnswers::has_choice(std::string_view backend, const spool::StoredMessage& message,
                              std::size_t recipient) {
    const Snapshot& snapshot = *worker_.snapshot();
    const auto pool_index =
        snapshot.pool_for(message.recipients[recipient].mailbox, message.is_report(), address_);
    if (!pool_index) {
        return false;
    }
    const upstream::Pool& pool = snapshot.pools[*pool_index]->upstream;
    const std::vector<BackendSettings>& backends = pool.settings.backends;
    if (pool.settings.hash == HashKey::none) { // in turn: it may be any
        return std::ranges::find(backends, backend, &BackendSettings::address) != backends.end();
    }
    const std::uint64_t key =
        choice_key(pool.settings.hash, address_, message.reverse_path, message.client_ip);
    const std::uint32_t first = pool.table.first(upstream::SlotTable::slot_of(key));
    return first != upstream::no_backend && backends[first].address == backend;
}

void QueueAnswers::describe(QueueRow& row, Slot slot) const {
    const spool::QueueIndex& index = queue_.index();
    const spool::QueueEntry& entry = index.at(slot);
    row.state = index.state(slot);
    row.attempts = static_cast<std::uint32_t>(entry.attempts);
    row.created = WallTime{std::chrono::seconds(entry.accepted_at_s)};
    row.pool = entry.pool == spool::no_pool ? std::string() : queue_.places().pool_name(entry.pool);
    const Instant next = index.next_attempt(slot);
    if (next != never && row.state != QueueState::active) {
        row.next_attempt = worker_.wall_time() + std::max(next - worker_.now(), Duration{});
    }
}

void QueueAnswers::describe(QueueRow& row, Slot slot, const spool::StoredMessage& message) {
    const spool::QueueIndex& index = queue_.index();
    row.sender = message.reverse_path;
    row.size_bytes = message.message_bytes;
    row.created = message.accepted_at;
    row.recipients.reserve(message.recipients.size());
    for (const spool::StoredRecipient& stored : message.recipients) {
        const auto number = static_cast<std::uint32_t>(row.recipients.size());
        QueueRow::Recipient& recipient = row.recipients.emplace_back();
        recipient.address = stored.mailbox;
        recipient.last_reply = index.last_reply(slot, number);
    }
    if (const spool::QueueExtra* const extra = index.extra(slot)) {
        for (const spool::QueueExtra::Settled& settled : extra->settled) {
            row.recipients[settled.recipient].state = settled.state;
            row.recipients[settled.recipient].last_reply = index.reply(settled.reply);
        }
    }
    describe_pools(row, message);
}

// Of the message: those of who pends; of one where nobody does, those of who failed.
void QueueAnswers::describe_pools(QueueRow& row, const spool::StoredMessage& message) {
    const Snapshot& snapshot = *worker_.snapshot();
    std::vector<std::string_view> pools;
    RecipientState shown = RecipientState::failed;
    for (std::size_t index = 0; index < row.recipients.size(); ++index) {
        QueueRow::Recipient& recipient = row.recipients[index];
        if (const auto pool = snapshot.pool_for(message.recipients[index].mailbox,
                                                message.is_report(), address_)) {
            recipient.pool = snapshot.pools[*pool]->settings().name;
        }
        if (recipient.state == RecipientState::pending && shown != recipient.state) {
            shown = recipient.state;
            pools.clear();
        }
        if (recipient.state == shown && !recipient.pool.empty() &&
            std::ranges::find(pools, recipient.pool) == pools.end()) {
            pools.push_back(recipient.pool);
        }
    }
    row.pool = fmt::format("{}", fmt::join(pools, ","));
}

void QueueAnswers::finish(Search& search) {
    QueueAnswer& answer = search.answer;
    std::erase_if(answer.rows, [](const QueueRow& row) { return row.id == 0; });
    const bool gave_up = worker_.pressure() != Pressure::none && answer.rows.empty();
    switch (search.question.kind) {
    case Kind::list:
        if (gave_up && !answer.is_end && answer.next == search.question.after) {
            answer.result = Result::busy;
        }
        break;
    case Kind::show:
        if (answer.rows.empty()) {
            answer.result =
                gave_up && queue_.index().find(search.question.id) ? Result::busy : Result::unknown;
        }
        break;
    case Kind::retry_all:
    case Kind::retry:
    case Kind::hold:
    case Kind::release:
    case Kind::remove:
        break;
    }
    answer.question = search.question.number;
    worker_.answer(std::move(answer));
}

void QueueAnswers::answer(const QueueQuestion& question, QueueAnswer::Result result, int error) {
    worker_.answer({.question = question.number, .result = result, .error = error});
}

void QueueAnswers::log_change(const QueueQuestion& question) {
    observe::LogRecord* const record =
        worker_.log().begin(observe::LogEvent::queue_change, worker_.wall_time());
    if (record == nullptr) {
        return;
    }
    std::string_view what;
    switch (question.kind) {
    case Kind::retry:
        what = "requeued";
        break;
    case Kind::hold:
        what = "placed on hold";
        break;
    case Kind::release:
        what = "released from hold";
        break;
    case Kind::remove:
        what = "removed";
        break;
    case Kind::list:
    case Kind::show:
    case Kind::retry_all:
        break;
    }
    record->id(spool::id_text(question.id)).detail(what);
    worker_.log().commit();
}

void QueueAnswers::drain() {
    is_draining_ = true;
    for (const Search& search : std::exchange(searches_, {})) {
        answer(search.question, Result::busy);
    }
}

} // namespace ringmx::worker
