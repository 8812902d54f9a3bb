// Many clients, messages and backends, SMTP and LMTP, under seeded faults. Whatever happens: what
// worker_promises.h says; everybody is answered; everything is given back.
//
// A failing seed prints itself; worker_seeds.h says how to run it alone, or more of them.
#include "sim/worker_promises.h"
#include "sim/worker_rig.h"
#include "sim/worker_seeds.h"

#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

// One client's life: lock-step or pipelined, DATA or BDAT, one recipient or several (of two pools),
// whole or in pieces; some leave in the middle.
class RandomClient {
  public:
    RandomClient(Rig& rig, std::size_t number, std::size_t messages, Promises& promises)
        : random_(rig.network.random()), number_(number), left_(messages), promises_(promises),
          client_(&rig.connect("192.0.2.9")) {}

    [[nodiscard]] bool done() const { return done_; }

    void step() {
        if (done_) {
            return;
        }
        send_piece();
        while (!done_) {
            const std::string reply = client_->take_reply();
            if (reply.empty()) {
                break;
            }
            take(reply);
        }
        if (!done_ && client_->socket->gone()) {
            leave();
        }
    }

  private:
    enum class Wait { greeting, hello, mail, recipient, data, final, quit };

    void say(const std::string& line, Wait wait) {
        client_->socket->write(line);
        wait_ = wait;
    }

    // Also where a transaction fails early: what was pipelined behind it is of no interest.
    void leave() {
        done_ = true;
        client_->socket->close();
    }

    void take(const std::string& reply) {
        if (reply.starts_with("421")) {
            leave();
            return;
        }
        const bool good = reply.starts_with("2") || reply.starts_with("3");
        switch (wait_) {
        case Wait::greeting:
            say("EHLO client.example\r\n", Wait::hello);
            return;
        case Wait::hello:
            begin();
            return;
        case Wait::mail:
            if (!good) {
                leave();
            } else if (pipelined_) {
                wait_ = Wait::recipient; // they were sent already
            } else {
                say(recipient_line(0), Wait::recipient);
            }
            return;
        case Wait::recipient:
            recipient_answered(good);
            return;
        case Wait::data:
            good ? begin_content() : leave();
            return;
        case Wait::final:
            if (--pieces_due_ > 0) { // a chunk's answer
                if (!good) {
                    leave();
                }
                return;
            }
            sent_->accepted = good;
            begin();
            return;
        case Wait::quit:
            leave();
            return;
        }
    }

    [[nodiscard]] std::string recipient_line(std::size_t index) const {
        return "RCPT TO:<" + recipients_[index] + ">\r\n";
    }

    void recipient_answered(bool good) {
        if (good) {
            sent_->recipients.push_back(recipients_[recipients_answered_]);
        }
        ++recipients_answered_;
        if (recipients_answered_ < recipients_.size()) {
            if (!pipelined_) {
                say(recipient_line(recipients_answered_), Wait::recipient);
            }
        } else if (sent_->recipients.empty()) {
            leave();
        } else if (chunks_) {
            begin_content();
        } else if (data_said_) {
            wait_ = Wait::data;
        } else {
            say("DATA\r\n", Wait::data);
        }
    }

    void begin() {
        if (left_ == 0) {
            say("QUIT\r\n", Wait::quit);
            return;
        }
        --left_;
        pipelined_ = random_.chance(0.5);
        chunks_ = random_.chance(0.4);
        data_said_ = pipelined_ && !chunks_ && random_.chance(0.5);
        const std::size_t size = random_.chance(0.1)   ? random_.between(300'000, 700'000)
                                 : random_.chance(0.5) ? random_.between(0, 200)
                                                       : random_.between(0, 20'000);
        sent_ =
            &promises_.begin(std::to_string(number_) + "." + std::to_string(left_), random_, size);
        recipients_.clear();
        recipients_answered_ = 0;
        const std::uint64_t count = random_.chance(0.6) ? 1 : random_.between(2, 5);
        while (recipients_.size() < count) {
            const char* const domain = random_.chance(0.8) ? "@one.example" : "@two.example";
            recipients_.push_back("user" + std::to_string(random_.below(20)) + domain);
        }
        std::string lines = "MAIL FROM:<a@b.example>\r\n";
        for (std::size_t index = 0; pipelined_ && index < recipients_.size(); ++index) {
            lines += recipient_line(index);
        }
        say(lines + (data_said_ ? "DATA\r\n" : ""), Wait::mail);
    }

    void begin_content() {
        const std::string& octets = sent_->octets;
        pieces_due_ = 1;
        if (chunks_) {
            const std::size_t half = random_.below(octets.size());
            wire_ = "BDAT " + std::to_string(half) + "\r\n" + octets.substr(0, half) + "BDAT " +
                    std::to_string(octets.size() - half) + " LAST\r\n" + octets.substr(half);
            pieces_due_ = 2;
        } else {
            wire_ = stuffed(octets);
        }
        offset_ = 0;
        leaves_ = random_.chance(0.05);
        wait_ = Wait::final;
    }

    // A piece of the content at a time; one who leaves never sends the last octet.
    void send_piece() {
        if (wait_ != Wait::final || offset_ >= wire_.size() || !random_.chance(0.5)) {
            return;
        }
        const std::size_t rest = wire_.size() - offset_;
        const std::size_t count = std::min<std::size_t>(rest, random_.between(1, 100'000));
        if (leaves_ && (count == rest || random_.chance(0.3))) {
            done_ = true;
            random_.chance(0.5) ? client_->socket->close() : client_->socket->reset();
            return;
        }
        client_->socket->write(std::string_view(wire_).substr(offset_, count));
        offset_ += count;
        sent_->ended = offset_ == wire_.size();
    }

    Random& random_;
    std::size_t number_;
    std::size_t left_;
    Promises& promises_;
    Client* client_;
    Wait wait_ = Wait::greeting;
    Sent* sent_ = nullptr;
    std::vector<std::string> recipients_;
    std::size_t recipients_answered_ = 0;
    std::string wire_;
    std::size_t offset_ = 0;
    std::size_t pieces_due_ = 0;
    bool pipelined_ = false;
    bool chunks_ = false;
    bool data_said_ = false; // in the pipeline
    bool leaves_ = false;
    bool done_ = false;
};

// An LMTP backend is asked for each recipient of a message.
ScriptedBackend::Answer sometimes_wrong(Random& random, bool lmtp) {
    return [&random, lmtp](const std::string& command) -> std::optional<std::string> {
        if (!random.chance(lmtp && command == "." ? 0.2 : 0.03)) {
            return std::nullopt;
        }
        switch (random.below(4)) {
        case 0:
            return ScriptedBackend::drop_now;
        case 1:
            return "421 4.3.2 Not now\r\n";
        case 2:
            return command == "connect" ? "554 5.3.2 No\r\n" : "450 4.2.0 Later\r\n";
        default:
            return command == "connect" ? "421 4.3.2 No\r\n" : "550 5.7.1 No\r\n";
        }
    };
}

std::size_t run_seed(std::uint64_t seed) {
    RigOptions options;
    options.network = Options::hostile(seed);
    Random choice(seed);
    const bool resets = choice.chance(0.5);
    const bool lmtp[] = {choice.chance(0.4), choice.chance(0.5)};
    options.network.incremental_buffers = choice.chance(0.7);
    options.settings = [&](Settings& settings) {
        for (std::size_t index : {0U, 1U}) {
            PoolSettings& pool = settings.pools[index];
            pool.protocol = lmtp[index] ? Protocol::lmtp : Protocol::smtp;
            pool.max_connections = static_cast<std::uint32_t>(choice.between(1, 10));
            pool.messages_per_connection = static_cast<std::uint32_t>(choice.between(1, 20));
            pool.health.failures = 1000;
        }
        settings.limits.exempt = {Network::parse("192.0.2.0/24").value()};
    };
    Rig rig(options);
    rig.network.options().reset = resets ? 0.0005 : 0;
    std::vector<ScriptedBackend*> backends;
    for (const char* address : {Rig::first_address, Rig::second_address, Rig::third_address}) {
        BackendProfile profile;
        profile.lmtp = lmtp[address == Rig::third_address ? 1 : 0];
        profile.pipelining = choice.chance(0.7);
        profile.chunking = choice.chance(0.5);
        profile.eight_bit = choice.chance(0.5);
        backends.push_back(&rig.backend(address, profile));
        backends.back()->answer = sometimes_wrong(rig.network.random(), profile.lmtp);
    }
    Promises promises;
    std::vector<std::unique_ptr<RandomClient>> clients;
    constexpr std::size_t clients_count = 12;
    clients.reserve(clients_count);
    for (std::size_t number = 0; number < clients_count; ++number) {
        clients.push_back(std::make_unique<RandomClient>(rig, number, 6, promises));
    }
    const bool all_done = rig.run_until(
        [&] {
            bool done = true;
            for (const auto& client : clients) {
                client->step();
                done = done && client->done();
            }
            return done;
        },
        2h);
    EXPECT_TRUE(all_done) << "a client waits for ever";
    rig.finish();
    promises.check(backends);
    return promises.accepted_count();
}

TEST(WorkerRandom, EveryPromiseIsKeptUnderFaults) {
    const Seeds seeds = Seeds::chosen(25);
    std::size_t accepted = 0;
    run_seeds(seeds, "WorkerRandom.*", [&](std::uint64_t seed) { accepted += run_seed(seed); });
    if (!HasFailure() && seeds.count() > 1) {
        EXPECT_GT(accepted, 5 * seeds.count()) << "the faults leave too little to judge";
    }
}

} // namespace
} // namespace ringmx::sim
