// Clients for simulations of a crowd: some behave, the others flood, stall, read no replies or leave.
//
// A client is driven by what comes in and by moments that it chose itself; nobody steps it. One that
// behaves fails the test when it is told what the contract does not know, or is left without an
// answer; the others only by the former.
// Thread: the network's. A client outlives the rig, whose network calls it.
#pragma once

#include "sim/worker_promises.h"
#include "sim/worker_rig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <initializer_list>
#include <string>
#include <string_view>

namespace ringmx::sim {

// When the trouble ends.
inline constexpr Duration trouble_time = 3min;
// Many wait for the next of these moments to send what they have, all at once.
inline constexpr Duration wave_time = 20s;

inline Duration until_next_wave(Instant now) {
    return wave_time - now.time_since_epoch() % wave_time;
}

struct Tally {
    std::size_t behaved_under_way = 0; // clients that behave and are not done
    std::size_t accepted = 0;
    std::size_t refused = 0;
    std::size_t dropped = 0; // 421
    std::size_t critical_turns = 0;
};

// A client whose life is what comes in: replies, and moments that it set itself.
class CrowdClient {
  public:
    CrowdClient(Rig& rig, Promises& promises, Tally& tally, std::size_t number, bool behaves)
        : rig_(rig), random_(rig.network.random()), promises_(promises), tally_(tally),
          number_(number), behaves_(behaves), messages_left_(random_.between(1, 3)) {
        tally_.behaved_under_way += behaves ? 1U : 0U;
        floods_ = !behaves && random_.chance(0.5);
        is_deaf_ = !behaves && random_.chance(0.3);
        stalls_ = !behaves && random_.chance(0.5);
        in(between(0s, 20s), [this] { begin(); });
        if (!behaves) {
            in(between(1s, trouble_time), [this] { leave(); });
            in(trouble_time + 1s, [this] { reset(); });
        }
    }

  private:
    enum class Asked { greeting, hello, mail, recipient, data, chunk, other, quit };

    [[nodiscard]] Duration between(Duration low, Duration high) {
        return Duration(static_cast<Duration::rep>(random_.between(
            static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count()))));
    }
    void in(Duration time, std::function<void()> action) {
        rig_.network.schedule(time, [this, action = std::move(action)] {
            if (!done_) {
                action();
            }
        });
    }

    void begin() {
        client_ = &rig_.connect("192.0.2.9");
        asked_.push_back(Asked::greeting);
        client_->socket->on_event = [this](SimSocket&) { look(); };
        if (is_deaf_ && random_.chance(0.5)) {
            client_->socket->pause();
        }
    }

    void look() {
        while (!done_) {
            const std::string reply = client_->take_reply();
            if (reply.empty()) {
                break;
            }
            take(reply);
        }
        if (!done_ && client_->socket->gone()) {
            EXPECT_TRUE(!behaves_ || (ended_ && asked_.empty()))
                << "client " << number_ << " is left without " << asked_.size() << " answers";
            finish();
        }
    }

    void finish() {
        done_ = true;
        tally_.behaved_under_way -= behaves_ ? 1U : 0U;
        if (client_ != nullptr) {
            client_->socket->close();
        }
    }

    void reset() {
        if (client_ != nullptr) {
            client_->socket->reset();
        }
        done_ = true;
    }

    // One who misbehaves goes, in some way.
    void leave() {
        if (client_ == nullptr) {
            return;
        }
        switch (random_.below(4)) {
        case 0:
            reset();
            return;
        case 1:
            finish();
            return;
        case 2:
            client_->socket->end();
            ended_ = true;
            return;
        default:
            client_->socket->resume();
            return;
        }
    }

    void say(std::string_view octets) {
        if (!ended_) {
            client_->socket->write(octets);
        }
    }
    void ask(std::string_view line, Asked what) {
        say(line);
        asked_.push_back(what);
    }

    void expect(const std::string& reply, std::initializer_list<std::string_view> allowed) const {
        EXPECT_TRUE(std::ranges::any_of(
            allowed, [&](std::string_view start) { return reply.starts_with(start); }))
            << "client " << number_ << " is told, for " << static_cast<int>(last_) << ", " << reply;
    }

    void take(const std::string& reply) {
        if (reply.starts_with("421")) {
            // Who behaves is never silent for long, but may be the one that memory runs out for.
            behaves_ ? expect(reply, {"421 4.3.1"}) : expect(reply, {"421 4.3.1", "421 4.4.2"});
            ++tally_.dropped;
            finish();
            return;
        }
        if (asked_.empty()) {
            ADD_FAILURE() << "client " << number_ << " is told, unasked, " << reply;
            finish();
            return;
        }
        const Asked asked = asked_.front();
        asked_.pop_front();
        last_ = asked;
        answered(asked, reply);
        if (!done_ && asked_.empty() && !content_under_way_) {
            next();
        }
    }

    void answered(Asked asked, const std::string& reply) {
        switch (asked) {
        case Asked::greeting:
            expect(reply, {"220 "});
            return;
        case Asked::hello:
        case Asked::other:
            expect(reply, {"250", "214 2.0.0", "252 2.5.0"});
            return;
        case Asked::mail:
            expect(reply, {"250 2.1.0", "452 4.3.1"});
            goes_on_ = reply.starts_with("250");
            return;
        case Asked::recipient:
            expect(reply, {goes_on_ ? "250 2.1.5" : "503 5.5.1", goes_on_ ? "451 4.4.1" : "503",
                           goes_on_ ? "452 4.3.1" : "503"});
            goes_on_ = reply.starts_with("250");
            if (goes_on_) {
                sent_->recipients.push_back(mailbox());
            }
            return;
        case Asked::data:
            if (goes_on_) {
                expect(reply, {"354 ", "451 4.4.1", "452 4.3.1"});
            } else {
                expect(reply, {"554 5.5.1", "503 5.5.1"});
            }
            if (reply.starts_with("354")) {
                send_content(stuffed(sent_->octets));
            }
            return;
        case Asked::chunk:
            if (sent_->recipients.empty()) {
                expect(reply, {"503 5.5.1", "554 5.5.1"});
            } else {
                expect(reply, {"250 2.0.0", "451 4.4.1", "452 4.3.1"});
            }
            if (--chunks_due_ == 0) {
                sent_->accepted = reply.starts_with("250");
                ++(sent_->accepted ? tally_.accepted : tally_.refused);
            }
            return;
        case Asked::quit:
            expect(reply, {"221 2.0.0"});
            finish();
            return;
        }
    }

    [[nodiscard]] std::string mailbox() const {
        return "user" + std::to_string(number_ % 20) + "@one.example";
    }

    // Everything asked is answered.
    void next() {
        if (ended_) {
            return; // its end is answered by ours
        }
        if (!said_hello_) {
            said_hello_ = true;
            ask("EHLO client.example\r\n", Asked::hello);
        } else if (under_way_) {
            go_on_with_envelope();
        } else if (messages_left_ > 0) {
            --messages_left_;
            in(between(0s, 5s), [this] { begin_message(); });
        } else {
            ask("QUIT\r\n", Asked::quit);
        }
    }

    void begin_message() {
        const std::size_t size_max = random_.chance(0.5) ? 100'000 : 400'000;
        const std::size_t size = random_.between(1000, size_max);
        sent_ = &promises_.begin(std::to_string(number_) + "." + std::to_string(messages_left_),
                                 random_, size);
        under_way_ = false;
        goes_on_ = true;
        if (is_deaf_) {
            client_->socket->pause();
        }
        const std::string recipient = "RCPT TO:<" + mailbox() + ">\r\n";
        const std::uint64_t how = random_.below(3);
        ask("RSET\r\n", Asked::other); // a refused DATA leaves the envelope standing
        ask("MAIL FROM:<a@b.example>\r\n", Asked::mail);
        if (how == 0) {
            under_way_ = true; // in lock-step
            return;
        }
        ask(recipient, Asked::recipient);
        if (floods_) {
            flood();
        }
        if (how == 1) {
            ask("DATA\r\n", Asked::data);
        } else {
            send_chunks();
        }
    }

    void go_on_with_envelope() {
        if (!goes_on_) {
            under_way_ = false;
            next();
        } else if (sent_->recipients.empty()) {
            ask("RCPT TO:<" + mailbox() + ">\r\n", Asked::recipient);
        } else {
            under_way_ = false;
            ask("DATA\r\n", Asked::data);
        }
    }

    void flood() {
        const std::uint64_t count = random_.between(10, 300);
        const std::string noop = "NOOP " + std::string(random_.below(1900), 'x') + "\r\n";
        for (std::uint64_t index = 0; index < count; ++index) {
            ask(random_.chance(0.8)   ? noop
                : random_.chance(0.5) ? std::string("HELP\r\n")
                                      : std::string("VRFY user\r\n"),
                Asked::other);
        }
    }

    // The whole message at once, behind an envelope that is not answered yet (RFC 3030, 4.2).
    void send_chunks() {
        const std::string& octets = sent_->octets;
        const std::size_t half = random_.below(octets.size());
        asked_.push_back(Asked::chunk);
        asked_.push_back(Asked::chunk);
        chunks_due_ = 2;
        pour("BDAT " + std::to_string(half) + "\r\n" + octets.substr(0, half) + "BDAT " +
             std::to_string(octets.size() - half) + " LAST\r\n" + octets.substr(half));
    }

    void send_content(std::string wire) {
        chunks_due_ = 1;
        asked_.push_back(Asked::chunk); // the final answer is like a chunk's
        pour(std::move(wire));
    }

    void pour(std::string wire) {
        wire_ = std::move(wire);
        poured_ = 0;
        content_under_way_ = true;
        slowly_ = random_.chance(0.4);
        const bool at_once = random_.chance(0.4);
        in(at_once ? 0s : until_next_wave(rig_.network.now()), [this] { pour_on(); });
    }

    void pour_on() {
        const std::size_t rest = wire_.size() - poured_;
        const std::size_t count =
            slowly_ || stalls_
                ? std::min<std::size_t>(rest, random_.between(1000, 1000 + wire_.size() / 4))
                : rest;
        say(std::string_view(wire_).substr(poured_, count));
        poured_ += count;
        if (poured_ < wire_.size()) {
            const bool stalls = stalls_ && random_.chance(0.4);
            in(between(10ms, stalls ? Duration(4min) : Duration(2s)), [this] { pour_on(); });
            return;
        }
        content_under_way_ = false;
        sent_->ended = !ended_;
        if (messages_left_ == 0 && !ended_ && random_.chance(0.3)) {
            client_->socket->end(); // its answers still come
            ended_ = true;
        }
    }

    Rig& rig_;
    Random& random_;
    Promises& promises_;
    Tally& tally_;
    const std::size_t number_;
    const bool behaves_;
    bool floods_ = false;
    bool is_deaf_ = false;
    bool stalls_ = false;
    std::uint64_t messages_left_;
    Client* client_ = nullptr;
    std::deque<Asked> asked_;      // and not answered
    Asked last_ = Asked::greeting; // what the last answer was for
    bool said_hello_ = false;
    bool under_way_ = false; // an envelope in lock-step
    bool goes_on_ = false;   // the transaction has not failed
    Sent* sent_ = nullptr;
    std::string wire_;
    std::size_t poured_ = 0;
    std::size_t chunks_due_ = 0;
    bool content_under_way_ = false;
    bool slowly_ = false;
    bool ended_ = false; // it half-closed
    bool done_ = false;
};

} // namespace ringmx::sim
