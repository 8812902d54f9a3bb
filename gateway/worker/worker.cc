#include "worker/worker.h"

#include "base/mutation.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ringmx::worker {
namespace {

// A worker shows that it lives at least this often (/healthz wants a heartbeat of the last 5 s).
constexpr Duration heartbeat_time = 1s;
// Without a free descriptor an accept fails at once, connection or not: armed anew each turn it
// would turn the worker round and round.
constexpr Duration accept_pause = 100ms;
constexpr std::size_t inbox_messages = 64;
constexpr std::size_t answers_max = 64; // more than main has questions open
// Under pressure everything held is looked through this often. What is sent to backends to make room
// leaves memory when it has been sent: nobody's message is failed before a second look.
constexpr Duration relief_interval = 100ms;
// Transactions and backend connections are bounded by clients and by max_connections; this only
// bounds the slots a Token can name.
constexpr std::uint32_t slots_max = (1U << 24U) - 1;

template <typename Owner>
void deliver(Slab<Owner>& owners, std::uint8_t base, const ring::Completion& completion,
             Slice&& octets) {
    const ring::Token token = completion.token;
    if (Owner* owner = owners.find({token.slot, token.generation})) {
        owner->complete(static_cast<ring::StreamOperation>(token.operation - base), completion,
                        std::move(octets));
    }
}

constexpr bool is_operation_of(std::uint8_t operation, std::uint8_t base) {
    return operation >= base &&
           operation < base + static_cast<std::uint8_t>(ring::StreamOperation::count);
}

} // namespace

Worker::Worker(Options options)
    : options_(std::move(options)), snapshot_(options_.snapshot),
      pool_({.bytes_max = options_.memory_bytes_max}), loop_(*options_.port, pool_),
      receive_buffers_(pool_, *options_.port, options_.posted_buffers), timers_(loop_.now()),
      book_(options_.index, *options_.shares, options_.seed),
      clients_(std::min(options_.clients_max, slots_max)), deliveries_(slots_max),
      backends_(slots_max), queue_ids_(options_.index, options_.port->wall_time()),
      random_(options_.seed), verification_(*this), inbox_(inbox_messages), answers_(answers_max),
      cache_answers_(answers_max), accepting_(options_.listeners.size(), false) {
    if (options_.spool.supply != nullptr) {
        queue_ = std::make_unique<MailQueue>(*this, options_.spool);
    }
}

Worker::~Worker() = default;

// SplitMix64: any seed will do.
std::uint64_t Worker::random() {
    std::uint64_t value = random_ += 0x9E37'79B9'7F4A'7C15;
    value = (value ^ value >> 30U) * 0xBF58'476D'1CE4'E5B9;
    value = (value ^ value >> 27U) * 0x94D0'49BB'1331'11EB;
    return value ^ value >> 31U;
}

observe::BackendCounters& Worker::counters_of(const upstream::Lease& lease, const Pool& pool) {
    return pool.rows[lease.backend_index]->workers[options_.index];
}

Transaction* Worker::transaction(TransactionId id) {
    switch (id.kind) {
    case TransactionId::Kind::delivery:
        return deliveries_.find(id.handle);
    case TransactionId::Kind::intake:
        return queue_->intakes().find(id.handle);
    }
    return nullptr;
}

Exchange* Worker::exchange(ExchangeId id) {
    switch (id.kind) {
    case ExchangeId::Kind::delivery:
        return deliveries_.find(id.handle);
    case ExchangeId::Kind::forwarding:
        return queue_ == nullptr ? nullptr : queue_->forwardings().find(id.handle);
    case ExchangeId::Kind::verification:
        return verification_.probe(id.handle);
    }
    return nullptr;
}

void Worker::start() {
    started_ = true;
    receive_buffers_.refill();
    for (std::size_t position = 0; position < options_.listeners.size(); ++position) {
        arm_accept(position);
    }
    options_.counters->beat(now());
}

void Worker::run() {
    start();
    while (!finished()) {
        turn();
    }
}

bool Worker::post(Inbox&& message) {
    if (!inbox_.try_push(std::move(message))) {
        return false;
    }
    options_.port->waker().wake();
    return true;
}

void Worker::answer(QueueAnswer answer) { hand_over(answers_, std::move(answer)); }
void Worker::answer(CacheAnswer answer) { hand_over(cache_answers_, std::move(answer)); }

template <typename Answer> void Worker::hand_over(SpscRing<Answer>& answers, Answer answer) {
    answer.worker = index();
    const bool is_taken = answers.try_push(std::move(answer));
    RINGMX_ASSERT(is_taken);
    if (options_.main_waker != nullptr) {
        options_.main_waker->wake();
    }
}

Instant Worker::turn_deadline() const {
    const Instant queue_due = queue_ == nullptr ? never : queue_->deadline();
    return std::min({timers_.next_due(), book_.next_deadline(), now() + heartbeat_time,
                     accept_again_at_, relieve_at_, queue_due});
}

void Worker::turn() {
    const std::span<const ring::Completion> completions = loop_.turn(turn_deadline());
    observe::WorkerCounters& counted = counters();
    counted.turns_total.add();
    counted.operations_total.add(loop_.operations_total() - counted.operations_total.value());
    counted.completions_total.add(completions.size());
    counted.beat(now());
    for (const ring::Completion& completion : completions) {
        dispatch(completion);
    }
    timers_.advance(now(), [this](Timer& timer) { timer_fired(timer); });
    read_inbox();
    accept_again();
    relieve_pressure(); // before the grants and receives that what it frees lets through
    run_grants();
    if (queue_ != nullptr) {
        queue_->run();
    }
    receive_buffers_.refill();
    receive_buffers_.rearm_starved([this](ring::Token token) {
        if (is_operation_of(token.operation, client_operations)) {
            ClientConnection* client = clients_.find({token.slot, token.generation});
            return client != nullptr && client->arm_receive();
        }
        BackendConnection* backend = backends_.find({token.slot, token.generation});
        return backend != nullptr && backend->arm_receive();
    });
    wake_others();
    counted.memory_bytes_in_use.set(static_cast<std::int64_t>(pool_.bytes_in_use()));
    reap();
    check_finished();
}

// The buffer is settled first, whatever becomes of the event.
void Worker::dispatch(const ring::Completion& completion) {
    Slice octets = receive_buffers_.settle(completion);
    const std::uint8_t operation = completion.token.operation;
    if (completion.result == -ENOBUFS) {
        counters().receive_starved_total.add();
    }
    if (operation == accept_operation) {
        accepted(completion);
    } else if (is_operation_of(operation, client_operations)) {
        deliver(clients_, client_operations, completion, std::move(octets));
    } else if (is_operation_of(operation, backend_operations)) {
        deliver(backends_, backend_operations, completion, std::move(octets));
    } else if (operation == spool_write_operation || operation == spool_read_operation) {
        queue_->complete(completion);
    }
}

void Worker::arm_accept(std::size_t position) {
    ring::Operation operation{};
    operation.code = ring::Opcode::accept;
    operation.descriptor = options_.listeners[position].descriptor;
    operation.token = {accept_operation, static_cast<std::uint32_t>(position), 0};
    loop_.queue(operation);
    accepting_[position] = true;
}

void Worker::accepted(const ring::Completion& completion) {
    const std::size_t position = completion.token.slot;
    if (!completion.more) {
        accepting_[position] = false;
    }
    if (completion.result >= 0) {
        accept_failing_ = false;
        counters().connections_total.add();
        ClientConnection* client =
            clients_.create(*this, options_.listeners[position].listener_index);
        if (client == nullptr) {
            counters().connections_refused[observe::RefuseReason::connections].add();
            options_.port->close(completion.result);
        } else {
            client->open(completion.result);
        }
    }
    if (accepting_[position]) {
        return;
    }
    if (phase_ != Phase::serving) {
        close_listener(position);
    } else if (completion.result < 0 && completion.result != -ECONNABORTED) {
        accept_again_at_ = std::min(accept_again_at_, now() + accept_pause);
        accept_failed(-completion.result);
    } else {
        arm_accept(position);
    }
}

// The client waits in the backlog. Said once for each time that it begins.
void Worker::accept_failed(int error) {
    counters().accept_failures_total.add();
    if (std::exchange(accept_failing_, true)) {
        return;
    }
    if (observe::LogRecord* record =
            log().begin(observe::LogEvent::notice, LogLevel::warning, wall_time())) {
        const Error cause{"accept (clients wait; raise LimitNOFILE= or lower limits.connections)",
                          error, ""};
        record->detail(cause.message());
        log().commit();
    }
}

void Worker::accept_again() {
    if (now() < accept_again_at_) {
        return;
    }
    accept_again_at_ = never;
    for (std::size_t position = 0; position < accepting_.size(); ++position) {
        if (phase_ == Phase::serving && !accepting_[position]) {
            arm_accept(position);
        }
    }
}

// Nothing accepts on it any more: whoever connects from now on is refused by the kernel.
void Worker::close_listener(std::size_t position) {
    int& descriptor = options_.listeners[position].descriptor;
    if (descriptor >= 0) {
        options_.port->close(descriptor);
        descriptor = -1;
    }
}

void Worker::timer_fired(Timer& timer) {
    switch (static_cast<TimerKind>(timer.kind())) {
    case TimerKind::client:
        clients_.at(timer.slot())->timer_fired();
        return;
    case TimerKind::delivery:
        deliveries_.at(timer.slot())->timer_fired();
        return;
    case TimerKind::backend:
        backends_.at(timer.slot())->timer_fired();
        return;
    case TimerKind::verification:
        verification_.probe_at(timer.slot()).timer_fired();
        return;
    }
}

void Worker::read_inbox() {
    while (Inbox* const next = inbox_.front()) {
        Inbox message = std::move(*next);
        inbox_.pop_front();
        switch (message.kind) {
        case Inbox::Kind::snapshot:
            snapshot_ = std::move(message.snapshot);
            clients_.for_each([](ClientConnection& client) { client.configuration_changed(); });
            verification_.configuration_changed();
            if (queue_ != nullptr) {
                queue_->snapshot_changed();
            }
            close_idle_backends();
            break;
        case Inbox::Kind::adopt:
            queue_->adopt(std::move(message.messages), std::move(message.segments));
            break;
        case Inbox::Kind::question:
            queue_->answers().ask(std::move(message.question));
            break;
        case Inbox::Kind::cache_question:
            answer(verification_.answer(message.cache_question));
            break;
        case Inbox::Kind::drain:
            begin_drain();
            break;
        case Inbox::Kind::cut:
            begin_drain();
            begin_cut();
            break;
        }
    }
}

// Listening sockets close only after their accept has been cancelled: a ring that dies keeps its
// listener for a while, and what connects meanwhile would be reset.
void Worker::begin_drain() {
    if (phase_ != Phase::serving) {
        return;
    }
    phase_ = Phase::draining;
    for (std::size_t position = 0; position < accepting_.size(); ++position) {
        if (accepting_[position]) {
            ring::Operation operation{};
            operation.code = ring::Opcode::cancel;
            operation.token = {accept_cancel_operation, static_cast<std::uint32_t>(position), 0};
            operation.target = {accept_operation, static_cast<std::uint32_t>(position), 0};
            loop_.queue(operation);
        } else {
            close_listener(position);
        }
    }
    clients_.for_each([](ClientConnection& client) { client.drain(); });
    if (queue_ != nullptr) {
        queue_->drain();
    }
    close_idle_backends();
    backends_.for_each([](BackendConnection& backend) { backend.drain(); });
}

void Worker::begin_cut() {
    if (phase_ == Phase::cut) {
        return;
    }
    phase_ = Phase::cut;
    clients_.for_each([](ClientConnection& client) { client.cut(); });
    deliveries_.for_each([](Delivery& delivery) { delivery.cut(); });
    if (queue_ != nullptr) {
        queue_->cut();
    }
    verification_.cut();
    backends_.for_each([](BackendConnection& backend) { backend.cut(); });
}

void Worker::close_idle_backends() {
    expired_.clear();
    book_.take_all_idle(expired_);
    for (const upstream::IdleConnection& idle : expired_) {
        if (BackendConnection* backend = backends_.at(idle.connection)) {
            backend->close_idle();
        }
    }
}

void Worker::run_grants() {
    expired_.clear();
    book_.expire_idle(now(), expired_);
    for (const upstream::IdleConnection& idle : expired_) {
        if (BackendConnection* backend = backends_.at(idle.connection)) {
            backend->close_idle();
        }
    }
    // Asked even when nobody waits: only so does the book forget the deadline of one that went on
    // by a hand-over.
    while (const std::optional<upstream::Grant> grant = book_.next_grant(now())) {
        Exchange* const waiting = exchange(ExchangeId::unpacked(grant->transaction));
        RINGMX_ASSERT_STATE(waiting != nullptr, "a waiting transaction %llu is gone",
                            static_cast<unsigned long long>(grant->transaction));
        waiting->granted(grant->answer);
    }
    // Going on may hand over further connections: the list grows under this loop.
    std::size_t advanced = 0;
    while (advanced < to_advance_.size()) {
        if (Exchange* const next = exchange(to_advance_[advanced++])) {
            next->advance();
        }
    }
    to_advance_.clear();
}

bool Worker::may_log_wait() {
    if (now() < log_wait_at_) {
        return false;
    }
    log_wait_at_ = now() + 1min;
    return true;
}

Pressure Worker::pressure() const {
    RINGMX_MUTATE(memory_mark_ignored, return Pressure::none);
    const std::size_t used = pool_.bytes_in_use() + static_cast<std::size_t>(envelope_bytes_);
    if (used + pool_.receive_buffer_bytes() > pool_.receiving_bytes_max()) {
        return Pressure::critical;
    }
    return used > pool_.bytes_max() / 4 * 3 ? Pressure::high : Pressure::none;
}

// Who finds no memory waits until this lets it go on, also where there is room again at the end of
// the turn in which there was none.
void Worker::relieve_pressure() {
    const Pressure level = pressure();
    if (level == Pressure::none) {
        if (last_pressure_ != Pressure::none || now() >= relieve_at_) {
            relieve_at_ = never;
            deliveries_.for_each([](Delivery& delivery) { delivery.advance(); });
            if (queue_ != nullptr) {
                queue_->go_on();
            }
            clients_.for_each([](ClientConnection& client) { client.resume(); });
        }
        if (std::exchange(seen_refusals_, pool_.refusals_total()) != pool_.refusals_total()) {
            relieve_at_ = std::min(relieve_at_, now() + relief_interval);
        }
        was_stuck_ = false;
    } else if (level > last_pressure_ || now() >= relieve_at_) {
        // Again and again while it lasts: what comes meanwhile lies in receive buffers too, and what
        // found no memory tries again.
        clients_.for_each([](ClientConnection& client) { client.relieve(); });
        deliveries_.for_each([](Delivery& delivery) { delivery.relieve(); });
        if (queue_ != nullptr) {
            queue_->relieve();
        }
        const bool is_stuck =
            pressure() == Pressure::critical &&
            (receive_buffers_.exhausted() || pool_.bytes_in_use() > pool_.receiving_bytes_max());
        if (is_stuck && was_stuck_ && now() >= relieve_at_) {
            fail_one_for_memory();
        }
        was_stuck_ = is_stuck;
        relieve_at_ = now() + relief_interval;
    }
    last_pressure_ = level;
}

// What could be freed in a whole interval was not enough. The message that has come least far goes;
// where nobody sends one, the client whose commands and replies wait in most memory, and last of
// all one whose message a backend is about to answer.
void Worker::fail_one_for_memory() {
    Transaction* least = nullptr;
    const auto consider = [&](Transaction& transaction) {
        if (transaction.content_begun() && !transaction.content_ended() &&
            transaction.held_bytes() > 0 &&
            (least == nullptr || transaction.progress_bytes() < least->progress_bytes())) {
            least = &transaction;
        }
    };
    deliveries_.for_each(consider);
    if (queue_ != nullptr) {
        queue_->intakes().for_each(consider);
    }
    if (least != nullptr) {
        least->fail_for_memory();
        return;
    }
    ClientConnection* most = nullptr;
    const auto weight = [](ClientConnection& client) {
        return std::pair(!client.awaits_final_reply(), client.waiting_bytes());
    };
    clients_.for_each([&](ClientConnection& client) {
        if (client.waiting_bytes() > 0 && (most == nullptr || weight(client) > weight(*most))) {
            most = &client;
        }
    });
    if (most != nullptr) {
        most->fail_for_memory();
    }
}

void Worker::wake_others() {
    for (const std::uint32_t worker : book_.wakes()) {
        if (worker != options_.index) {
            options_.wakers[worker]->wake();
        }
    }
    book_.clear_wakes();
}

void Worker::check_finished() {
    if (phase_ != Phase::serving && clients_.used() == 0) {
        verification_.cut(); // nobody is left to hear
    }
    if (phase_ == Phase::serving || !verification_.idle() || clients_.used() != 0 ||
        deliveries_.used() != 0 || backends_.used() != 0 ||
        (queue_ != nullptr && !queue_->idle()) ||
        std::ranges::find(accepting_, true) != accepting_.end()) {
        return;
    }
    finished_.store(true, std::memory_order_release);
    if (options_.main_waker != nullptr) {
        options_.main_waker->wake();
    }
}

// What has ended is destroyed at the end of the turn: whoever is still running on its stack may
// finish.
void Worker::reap() {
    if (queue_ != nullptr) {
        queue_->reap();
    }
    for (const Handle handle : ended_clients_) {
        clients_.destroy(*clients_.find(handle));
    }
    ended_clients_.clear();
    for (const Handle handle : ended_deliveries_) {
        deliveries_.destroy(*deliveries_.find(handle));
    }
    ended_deliveries_.clear();
    for (const Handle handle : ended_backends_) {
        backends_.destroy(*backends_.find(handle));
    }
    ended_backends_.clear();
    verification_.reap();
}

void Worker::client_closed(ClientConnection& client) { ended_clients_.push_back(client.handle()); }
void Worker::delivery_ended(Delivery& delivery) { ended_deliveries_.push_back(delivery.handle()); }

void Worker::backend_closed(BackendConnection& backend) {
    counters_of(backend.lease(), backend.pool()).connections_open.subtract();
    ended_backends_.push_back(backend.handle());
}

} // namespace ringmx::worker
