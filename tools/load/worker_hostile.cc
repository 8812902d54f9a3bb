// What no honest client does, to see what a server makes of it. A message that is sent so is an
// error of the kind that names the trick, unless the server takes it all the same (a drip).
#include "load/worker.h"

#include <algorithm>
#include <string>

namespace ringmx::load {
namespace {

// Commands whose answers a client that never reads leaves lying.
constexpr std::size_t flood_bytes = std::size_t{64} * 1024;

} // namespace

// Slow-loris: the content comes a few octets at a time, for as long as the server bears it.
void Worker::begin_drip(Peer& peer) {
    const Message& message = peer.client.message;
    const bool is_stuffed = peer.dialog.content_form() == ContentForm::stuffed;
    peer.dripped.assign(message.header);
    for (const std::string_view part : is_stuffed ? message.stuffed : message.raw) {
        peer.dripped.append(part);
    }
    peer.dripped.append(is_stuffed ? ".\r\n" : "");
    peer.drip_at = 0;
    peer.is_dripping = true;
    drip(peer);
}

void Worker::drip(Peer& peer) {
    const std::string_view part =
        std::string_view(peer.dripped).substr(peer.drip_at, options_.drip_octets);
    send_text(peer, part);
    peer.drip_at += part.size();
    if (peer.drip_at == peer.dripped.size()) {
        peer.is_dripping = false;
        peer.dialog.content_submitted(loop_.now());
        await_answer(peer.client);
        return;
    }
    timers_.set(peer.client.timer, std::min(loop_.now() + options_.drip_pause, stop_by_));
}

// The first half of the content, then RST.
void Worker::send_and_abort(Peer& peer) {
    const Message& message = peer.client.message;
    const bool is_stuffed = peer.dialog.content_form() == ContentForm::stuffed;
    send_text(peer, message.header);
    const auto& parts = is_stuffed ? message.stuffed : message.raw;
    for (std::size_t index = 0; index < (parts.size() + 1) / 2; ++index) {
        const std::string_view part = parts[index];
        peer.stream.send(
            loop_, Slice::literal(parts.size() == 1 ? part.substr(0, part.size() / 2) : part));
    }
    peer.is_aborting = true;
}

// Commands without end, and no answer is read: the server must stop reading too, and lose patience.
void Worker::flood(Peer& peer) {
    static const std::string commands = [] {
        std::string made;
        while (made.size() < flood_bytes) {
            made += "NOOP\r\n";
        }
        return made;
    }();
    peer.is_flooding = true;
    peer.stream.pause(loop_);
    peer.stream.send(loop_, Slice::literal(commands));
}

} // namespace ringmx::load
