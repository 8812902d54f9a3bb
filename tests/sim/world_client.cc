#include "sim/world_client.h"

#include <algorithm>
#include <utility>

namespace ringmx::sim {
namespace {

// Longer than ringmx may take for any answer in a world's settings: a client that waits so long is
// left without one.
constexpr Duration patience = 25min;

bool is_reply(const std::string& reply) {
    return reply.size() > 5 && reply[0] >= '2' && reply[0] <= '5' &&
           std::ranges::all_of(reply.substr(1, 2),
                               [](char digit) { return digit >= '0' && digit <= '9'; });
}

} // namespace

std::string WorldClient::describe() const {
    std::string text = "client " + std::to_string(number_) + ": " + std::to_string(asked_.size()) +
                       " unanswered, " + std::to_string(outgoing_.size()) + " octets to send";
    if (client_ != nullptr && client_->socket->gone()) {
        text += ", connection gone";
    }
    return text;
}

Duration WorldClient::between(Duration low, Duration high) {
    return Duration(static_cast<Duration::rep>(random_.between(
        static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count()))));
}

void WorldClient::in(Duration time, std::function<void()> action) {
    world_.rig->network.schedule(time, [this, action = std::move(action)] {
        if (!done_) {
            action();
        }
    });
}

void WorldClient::soon(Duration time, std::function<void()> action) {
    in(time, [this, life = life_, action = std::move(action)] {
        if (life == life_) {
            action();
        }
    });
}

void WorldClient::connect(const char* from) {
    ++life_;
    asked_.clear();
    outgoing_.clear();
    when_poured_ = {};
    dribbles_ = ended_ = pour_due_ = false;
    client_ = &world_.rig->connect(from);
    client_->socket->on_event = [this](SimSocket&) { look(); };
    heard_at_ = world_.rig->network.now();
    watch();
}

// Once a minute: has anything come that was waited for?
void WorldClient::watch() {
    soon(1min, [this] {
        if (asked_.empty() || world_.rig->network.now() - heard_at_ < patience) {
            watch();
            return;
        }
        if (!client_->socket->swallowed() && world_.in_peace()) {
            world_.ledger.fault("left without an answer: " + describe());
        }
        hang_up(true);
    });
}

void WorldClient::say(std::string_view octets) {
    if (client_ == nullptr || ended_) {
        return;
    }
    if (asked_.empty()) {
        heard_at_ = world_.rig->network.now(); // from now on it waits
    }
    if (!dribbles_ && outgoing_.empty()) {
        client_->socket->write(octets);
        return;
    }
    outgoing_ += octets;
    if (!std::exchange(pour_due_, true)) {
        soon(between(0s, 100ms), [this] { pour(); });
    }
}

void WorldClient::ask(std::string_view octets, OnReply on_reply) {
    say(octets);
    asked_.push_back(std::move(on_reply));
}

void WorldClient::when_poured(std::function<void()> action) {
    if (outgoing_.empty()) {
        action();
    } else {
        when_poured_ = std::move(action);
    }
}

void WorldClient::pour() {
    pour_due_ = false;
    const std::size_t most = std::size_t{1} << random_.below(18);
    const std::size_t count =
        dribbles_ ? std::min<std::size_t>(outgoing_.size(), random_.between(1, most))
                  : outgoing_.size();
    client_->socket->write(std::string_view(outgoing_).substr(0, count));
    outgoing_.erase(0, count);
    heard_at_ = world_.rig->network.now();
    if (!outgoing_.empty()) {
        pour_due_ = true;
        soon(between(0s, random_.chance(0.02) ? Duration(20s) : Duration(50ms)),
             [this] { pour(); });
        return;
    }
    if (const std::function<void()> action = std::exchange(when_poured_, {})) {
        action();
    }
    look();
}

void WorldClient::look() {
    if (looking_) {
        return;
    }
    looking_ = true;
    const std::uint64_t life = life_;
    while (!done_ && client_ != nullptr && life == life_) {
        const std::string reply = client_->take_reply();
        if (reply.empty()) {
            break;
        }
        take(reply);
    }
    looking_ = false;
    if (done_ || client_ == nullptr || life != life_) {
        return;
    }
    if (client_->socket->gone()) {
        hang_up();
    } else if (client_->socket->connected() && asked_.empty() && outgoing_.empty()) {
        idle();
    }
}

void WorldClient::take(const std::string& reply) {
    heard_at_ = world_.rig->network.now();
    if (!is_reply(reply)) {
        world_.ledger.fault("client " + std::to_string(number_) + " is told " + reply);
    }
    if (reply.starts_with("421")) {
        check("unasked", reply, {"421 4.3.1", "421 4.3.2", "421 4.4.2", "421 4.7.0"});
        hang_up();
        return;
    }
    if (asked_.empty()) {
        world_.ledger.fault("client " + std::to_string(number_) + " is told, unasked, " + reply);
        hang_up();
        return;
    }
    const OnReply on_reply = std::move(asked_.front());
    asked_.pop_front();
    on_reply(reply);
}

void WorldClient::check(const std::string& what, const std::string& reply,
                        std::initializer_list<std::string_view> allowed) {
    if (std::ranges::none_of(allowed,
                             [&](std::string_view start) { return reply.starts_with(start); })) {
        world_.ledger.fault("client " + std::to_string(number_) + " is told for " + what + ": " +
                            reply);
    }
}

void WorldClient::hang_up(bool reset) {
    if (client_ != nullptr) {
        client_->socket->on_event = nullptr;
        reset ? client_->socket->reset() : client_->socket->close();
    }
    client_ = nullptr;
    ++life_;
    asked_.clear();
    outgoing_.clear();
    when_poured_ = {};
    if (!done_) {
        hung_up();
    }
}

void WorldClient::half_close() {
    ended_ = true;
    client_->socket->end();
}

} // namespace ringmx::sim
