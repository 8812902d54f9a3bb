// One client of a worker: its messages, its connection, what it sends.
#include "load/addresses.h"
#include "load/worker.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace ringmx::load {

void Worker::begin_message(Client& client, Instant due) {
    if (!schedule_) {
        ++begun_;
    }
    client.due = due;
    client.sequence = share_.index + sequences_++ * share_.count;
    client.has_message = true;
    source_->make(client.sequence, client.message);
    ++result_.sent;
    ++in_flight_;
    show_progress();
    Peer* const peer = peers_.find(client.peer);
    if (peer == nullptr) {
        dial(client);
    } else if (peer->is_ready) {
        begin_transaction(*peer);
        flush(*peer);
    } // else it is closing: closed() dials
}

void Worker::begin_transaction(Peer& peer) {
    ++peer.messages;
    peer.dialog.begin(peer.client.message, peer.client.sequence, *source_, loop_.now());
}

void Worker::dial(Client& client) {
    ++result_.connections;
    const Expected<int> descriptor = port_->open_socket(options_.to);
    if (!descriptor) {
        failed_to_connect(client, descriptor.error().code);
        return;
    }
    if (!options_.sources.empty()) {
        const Network& network = options_.sources[dialled_ % options_.sources.size()];
        const std::uint64_t index = dialled_++ / options_.sources.size();
        if (const int error = bind_source(*descriptor, address_of(network, index)); error != 0) {
            port_->close(*descriptor);
            failed_to_connect(client, error);
            return;
        }
    }
    Peer& peer = *peers_.create(client, options_, result_);
    client.peer = peer.handle;
    peer.dialled_at = loop_.now();
    peer.stream.open(*descriptor);
    peer.stream.connect(loop_, options_.to);
    await_answer(client);
}

// The client tries again with its next message, a little later.
void Worker::failed_to_connect(Client& client, int error) {
    client.is_resting = true;
    conclude(client, {Dialog::Ending::error, fmt::format("connect: {}", std::strerror(error))},
             false);
    timers_.set(client.timer, loop_.now() + rest_after_failure);
}

// Of the message that the client has: counted, timed, recorded.
void Worker::conclude(Client& client, const Dialog::Outcome& outcome, bool was_submitted) {
    const Instant now = loop_.now();
    const Message& message = client.message;
    client.has_message = false;
    --in_flight_;
    client.timer.cancel();
    result_.elapsed = std::max<Duration>(now - start_, Duration{1});
    const bool is_accepted = outcome.ending == Dialog::Ending::accepted;
    count_second(is_accepted, message.octets, now - client.due);
    switch (outcome.ending) {
    case Dialog::Ending::accepted:
        ++result_.accepted;
        result_.octets += message.octets;
        result_.part(Part::message).record(now - client.due);
        break;
    case Dialog::Ending::tempfailed:
        ++result_.tempfailed;
        break;
    case Dialog::Ending::rejected:
        ++result_.rejected;
        break;
    case Dialog::Ending::error:
        ++result_.errors;
        result_.lost += was_submitted ? 1U : 0U;
        break;
    }
    if (!is_accepted) {
        result_.count_failure(outcome.kind);
    }
    if (record_.is_open() && (is_accepted || was_submitted)) {
        record_.add(message.id, message.octets, message.checksum, is_accepted);
    }
    show_progress();
}

void Worker::count_second(bool is_accepted, std::uint64_t octets, Duration latency) {
    const auto index = static_cast<std::size_t>((loop_.now() - start_) / 1s);
    if (index >= result_.seconds.size()) {
        result_.seconds.resize(index + 1);
    }
    Second& second = result_.seconds[index];
    if (is_accepted) {
        ++second.accepted;
        second.octets += octets;
        second.latency.record(latency);
    } else {
        ++second.failed;
    }
}

void Worker::show_progress() {
    progress_.sent.store(result_.sent, std::memory_order_relaxed);
    progress_.accepted.store(result_.accepted, std::memory_order_relaxed);
    progress_.failed.store(result_.sent - result_.accepted - in_flight_, std::memory_order_relaxed);
    progress_.in_flight.store(in_flight_, std::memory_order_relaxed);
}

// QUIT; the connection ends with its answer.
void Worker::hang_up(Peer& peer) {
    peer.is_ready = false;
    if (peer.dialog.is_quitting()) {
        return;
    }
    peer.dialog.quit();
    await_answer(peer.client);
}

void Worker::await_answer(Client& client) {
    timers_.set(client.timer, std::min(loop_.now() + options_.timeout, stop_by_));
}

void Worker::flush(Peer& peer) {
    std::string& output = peer.dialog.output();
    if (output.empty() && !peer.dialog.content_due()) {
        return;
    }
    send_text(peer, output);
    output.clear();
    await_answer(peer.client);
    if (peer.dialog.content_due()) {
        send_content(peer);
    }
}

// Commands, header and body leave in one send.
void Worker::send_content(Peer& peer) {
    const Message& message = peer.client.message;
    const bool is_stuffed = peer.dialog.content_form() == ContentForm::stuffed;
    if (!peer.dialog.is_content_empty()) {
        if (options_.hostility == Hostility::drip) {
            begin_drip(peer);
            return;
        }
        if (options_.hostility == Hostility::abort) {
            send_and_abort(peer);
            return;
        }
        send_text(peer, message.header);
        for (const std::string_view part : is_stuffed ? message.stuffed : message.raw) {
            peer.stream.send(loop_, Slice::literal(part)); // the source outlives the connections
        }
    }
    if (is_stuffed) {
        peer.stream.send(loop_, Slice::literal(".\r\n"));
    }
    peer.dialog.content_submitted(loop_.now());
}

void Worker::send_text(Peer& peer, std::string_view text) {
    const bool sent = peer.stream.send_text(loop_, text);
    RINGMX_ASSERT_STATE(sent, "%zu octets of commands and headers wait to be sent",
                        pool_.bytes_in_use());
}

} // namespace ringmx::load
