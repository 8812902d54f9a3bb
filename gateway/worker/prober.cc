#include "worker/prober.h"

#include "worker/own_want.h"

#include <algorithm>

namespace ringmx::worker {

Prober::Probe::Probe(Handle self, std::uint32_t target_id, const Pool& pool,
                     std::size_t backend_index, std::shared_ptr<const Snapshot> used)
    : handle(self), target(target_id), snapshot(std::move(used)),
      state(pool.upstream.states[backend_index]), traits(pool.traits[backend_index]),
      health(pool.settings().health), addresses(pool.addresses[backend_index]),
      stream(self, probe_operations),
      session(snapshot->settings->hostname, pool.settings().protocol == Protocol::lmtp) {}

void Prober::use(std::shared_ptr<const Snapshot> snapshot) {
    std::map<std::uint32_t, Target> targets;
    for (const std::unique_ptr<Pool>& pool : snapshot->pools) {
        for (std::size_t index = 0; index < pool->upstream.states.size(); ++index) {
            const std::uint32_t id = pool->upstream.states[index]->id();
            const auto known = targets_.find(id);
            Target target;
            target.due = loop_.now();
            if (known != targets_.end()) {
                target = known->second;
                target.due = std::min(target.due, loop_.now() + pool->settings().health.interval);
            }
            target.pool = pool.get();
            target.backend_index = index;
            targets.emplace(id, target);
        }
    }
    targets_ = std::move(targets);
    snapshot_ = std::move(snapshot);
}

Instant Prober::next_deadline() {
    Instant deadline = never;
    if (!is_stopping_ && probes_.used() < probes_max) {
        for (const auto& [id, target] : targets_) {
            deadline = target.is_probed ? deadline : std::min(deadline, target.due);
        }
    }
    probes_.for_each([&](const Probe& probe) { deadline = std::min(deadline, probe.deadline); });
    return deadline;
}

void Prober::run_timers() {
    probes_.for_each([this](Probe& probe) {
        if (probe.deadline > loop_.now()) {
            return;
        }
        if (probe.is_told) {
            close(probe);
        } else if (loop_.now() >= probe.connect_deadline) {
            tell(probe, false);
            close(probe);
        } else {
            attempt_failed(probe);
        }
    });
    if (is_stopping_) {
        return;
    }
    // From the one behind the last: else silent ones, due again when they end, take every probe.
    auto next = targets_.upper_bound(last_begun_);
    for (std::size_t count = 0; count < targets_.size(); ++count, ++next) {
        next = next == targets_.end() ? targets_.begin() : next;
        auto& [id, target] = *next;
        if (!target.is_probed && target.due <= loop_.now()) {
            if (probes_.used() == probes_max) {
                return;
            }
            last_begun_ = id;
            begin(id, target);
        }
    }
}

void Prober::begin(std::uint32_t id, Target& target) {
    const PoolSettings& settings = target.pool->settings();
    // From its due time on, not from now: the rhythm doesn't drift with the load of the loop.
    target.due += settings.health.interval;
    if (target.due <= loop_.now()) {
        target.due = loop_.now() + settings.health.interval; // a slow probe is not made up for
    }
    if (target.pool->addresses[target.backend_index].empty()) {
        return; // it is out already, by its name
    }
    Probe* probe = probes_.create(id, *target.pool, target.backend_index, snapshot_);
    if (probe == nullptr) {
        return;
    }
    target.is_probed = true;
    probe->connect_deadline = loop_.now() + snapshot_->settings->timeouts.backend_connect;
    connect_next(*probe);
}

void Prober::connect_next(Probe& probe) {
    const std::size_t left = probe.addresses.size() - probe.next_address;
    const SocketAddress& address = probe.addresses[probe.next_address++];
    const Expected<int> descriptor = loop_.port().open_socket(address);
    if (!descriptor) {
        if (!is_own_want(descriptor.error().code)) {
            tell(probe, false);
        }
        closed(probe);
        return;
    }
    probe.stream.open(*descriptor);
    probe.stream.connect(loop_, address);
    // The time is shared among the addresses, so that a silent first one leaves some to the next.
    probe.deadline = loop_.now() + (probe.connect_deadline - loop_.now()) / static_cast<long>(left);
}

bool Prober::handle(const ring::Completion& completion, const Slice& octets) {
    const int operation = completion.token.operation - probe_operations;
    if (operation < 0 || operation >= static_cast<int>(ring::StreamOperation::count)) {
        return false;
    }
    Probe* found = probes_.find({completion.token.slot, completion.token.generation});
    if (found == nullptr) {
        return true;
    }
    Probe& probe = *found;
    const Duration wait =
        std::min(probe.snapshot->settings->timeouts.backend_reply, reply_wait_max);
    switch (
        probe.stream.complete(loop_, static_cast<ring::StreamOperation>(operation), completion)) {
    case ring::StreamEvent::nothing:
    case ring::StreamEvent::sent:
        break;
    case ring::StreamEvent::starved:
        close(probe); // no memory of ours: nothing is told
        break;
    case ring::StreamEvent::connected:
        probe.deadline = loop_.now() + wait;
        probe.connect_deadline = probe.deadline; // no other address after this one
        probe.stream.receive(loop_);
        break;
    case ring::StreamEvent::received:
        received(probe, octets.bytes());
        break;
    case ring::StreamEvent::ended:
        tell(probe, false);
        close(probe);
        break;
    case ring::StreamEvent::failed:
        if (is_own_want(probe.stream.error())) {
            close(probe);
        } else {
            attempt_failed(probe);
        }
        break;
    case ring::StreamEvent::closed:
        closed(probe);
        break;
    }
    return true;
}

void Prober::received(Probe& probe, Bytes octets) {
    while (!probe.stream.closing()) {
        const smtp::ClientSession::Step step = probe.session.receive(octets);
        octets = octets.subspan(step.consumed);
        if (step.event == smtp::ClientEvent::need_input) {
            break;
        }
        if (step.event == smtp::ClientEvent::ready) {
            probe.traits->learn(probe.session.capabilities());
            tell(probe, true);
            probe.session.quit();
            probe.deadline = loop_.now() + quit_wait;
            continue;
        }
        tell(probe,
             false); // failed or malformed; after `ready` the answer to QUIT, and told already
        close(probe);
        return;
    }
    std::string& output = probe.session.output();
    if (!output.empty() && !probe.stream.closing()) {
        if (probe.stream.send_text(loop_, output)) {
            output.clear();
        } else {
            close(probe);
        }
    }
}

void Prober::attempt_failed(Probe& probe) {
    const bool was_connecting = loop_.now() < probe.connect_deadline && !probe.stream.receiving();
    if (!probe.is_told && was_connecting && probe.next_address < probe.addresses.size()) {
        probe.wants_retry = true;
    } else {
        tell(probe, false);
    }
    close(probe);
}

void Prober::tell(Probe& probe, bool ok) {
    if (!probe.is_told) {
        probe.is_told = true;
        probe.state->probe_result(ok, probe.health);
    }
}

void Prober::close(Probe& probe) {
    probe.deadline = never;
    if (!probe.stream.closing() && probe.stream.close(loop_)) {
        closed(probe);
    }
}

void Prober::closed(Probe& probe) {
    const auto target = targets_.find(probe.target);
    if (probe.wants_retry && !is_stopping_ && target != targets_.end()) {
        // A stream serves one connection, so the next address gets a probe of its own, for which there
        // may be no place but this one's.
        auto addresses = std::move(probe.addresses);
        const auto next_address = probe.next_address;
        const Instant connect_deadline = probe.connect_deadline;
        probes_.destroy(probe);
        Probe* const next = probes_.create(target->first, *target->second.pool,
                                           target->second.backend_index, snapshot_);
        RINGMX_ASSERT(next != nullptr);
        next->addresses = std::move(addresses);
        next->next_address = next_address;
        next->connect_deadline = connect_deadline;
        connect_next(*next);
        return;
    }
    if (target != targets_.end()) {
        target->second.is_probed = false;
    }
    probes_.destroy(probe);
}

void Prober::stop() {
    is_stopping_ = true;
    probes_.for_each([this](Probe& probe) { close(probe); });
}

} // namespace ringmx::worker
