#include "sim/spool_life.h"

#include "sim/random.h"
#include "sim/spool_ledger.h"
#include "sim/spool_operators.h"
#include "sim/worker_rig.h"

#include "spool/message_id.h"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::sim {
namespace {

constexpr std::uint32_t workers_max = 3;
constexpr std::size_t senders_max = 8;
constexpr std::string_view id_name = "queued as ";
constexpr std::int64_t bytes_in_a_roomy_spool = 4UL << 20U; // of 16 MiB for each worker

std::string stuffed(std::string_view content) {
    std::string wire;
    bool is_line_start = true;
    for (const char octet : content) {
        if (is_line_start && octet == '.') {
            wire += '.';
        }
        wire += octet;
        is_line_start = octet == '\n';
    }
    return wire;
}

// One client: a letter after the other until something other than success comes.
struct Sender {
    enum class Stage : std::uint8_t { greeting, hello, mail, recipient, data, content, over };
    Client* client = nullptr;
    Stage stage = Stage::greeting;
    Letter* letter = nullptr;
    std::vector<std::string> recipients; // who are still to be named
    bool by_chunks = false;
    int letters_left = 1;
};

RigOptions options_of(std::uint64_t seed, Random& random, bool bounces) {
    RigOptions options;
    options.network.seed = seed;
    options.workers = static_cast<std::uint32_t>(random.between(1, workers_max));
    options.spool = true;
    options.settings = [bounces](Settings& settings) {
        settings.spool.on_failure = bounces ? OnFailure::bounce : OnFailure::hold;
        settings.spool.retry.expire = std::chrono::hours(24 * 365); // nothing ends by itself
    };
    return options;
}

class Life {
  public:
    Life(std::uint64_t seed, SpoolLifeTally& tally)
        : random_(seed), tally_(tally), bounces_(random_.chance(0.5)),
          rig_(options_of(seed, random_, bounces_)) {
        for (const char* address : {Rig::first_address, Rig::second_address, Rig::third_address}) {
            BackendProfile profile;
            profile.pipelining = random_.chance(0.8);
            profile.chunking = random_.chance(0.6);
            ScriptedBackend& made = rig_.backend(address, profile);
            made.answer = [this](const std::string& command) { return mood(command); };
            backends_.push_back(&made);
            ledger_.watch(made);
        }
    }

    void run() {
        const std::uint64_t lives = random_.between(2, 5);
        for (std::uint64_t life = 0; life < lives && !testing::Test::HasFailure(); ++life) {
            trouble_ = random_.chance(0.7) ? 0.2 : 0;
            refusals_ = random_.chance(0.5) ? 0.2 : 0;
            fills_up_ = random_.chance(0.5);
            const std::uint64_t turns = random_.between(20, 2000);
            for (std::uint64_t count = 0; count < turns; ++count) {
                step();
            }
            if (random_.chance(0.3)) {
                calm_down();
            }
            restart();
        }
        end();
    }

  private:
    std::optional<std::string> mood(const std::string& command) {
        if (command.starts_with("EHLO") || command == "connect" || !random_.chance(trouble_)) {
            return std::nullopt;
        }
        if (random_.chance(0.3)) {
            return ScriptedBackend::drop_now;
        }
        if (random_.chance(refusals_)) {
            has_refused_ = true;
            return std::string(SpoolLedger::refusal) + "\r\n";
        }
        return "451 4.0.0 not now\r\n";
    }

    void step() {
        if (senders_.size() < senders_max && random_.chance(0.02)) {
            Sender& made = senders_.emplace_back();
            made.client = &rig_.connect();
            made.by_chunks = random_.chance(0.4);
            made.letters_left = static_cast<int>(random_.between(1, 4));
        }
        if (random_.chance(0.01)) {
            backends_[random_.below(backends_.size())]->refuse_connections(random_.chance(0.5));
        }
        if (random_.chance(0.02)) {
            operators_.say_something();
        }
        if (fills_up_ && random_.chance(full_error() != 0 ? 0.005 : 0.003)) {
            fill_disk(full_error() == 0);
        }
        if (!fills_up_ && random_.chance(0.005)) {
            SimDisk::Faults& faults = rig_.disk.faults;
            faults.write_error = random_.chance(0.3) ? 0.05 : 0;
            faults.short_write = random_.chance(0.2) ? 0.05 : 0;
            faults.slow = random_.chance(0.3) ? 0.2 : 0;
            faults.read_error = random_.chance(0.3) ? 0.2 : 0;
            faults.short_read = random_.chance(0.2) ? 0.1 : 0;
        }
        rig_.turn();
        operators_.take_answers();
        for (Sender& sender : senders_) {
            hear(sender);
        }
        std::erase_if(senders_,
                      [](const Sender& sender) { return sender.stage == Sender::Stage::over; });
    }

    void hear(Sender& sender) {
        std::string reply;
        while (sender.stage != Sender::Stage::over &&
               !(reply = sender.client->take_reply()).empty()) {
            answer(sender, reply);
        }
        if (sender.client->socket->gone()) {
            sender.stage = Sender::Stage::over;
        }
    }

    void answer(Sender& sender, const std::string& reply) {
        using Stage = Sender::Stage;
        const bool is_ok = reply.starts_with('2') || reply.starts_with("354");
        if (!is_ok) {
            ++tally_.refused;
            EXPECT_TRUE(!fills_up_ || reply.starts_with("452 4.3.1")) << reply;
            tally_.full_refusals += full_error() != 0 ? 1U : 0U;
            leave(sender);
            return;
        }
        switch (sender.stage) {
        case Stage::greeting:
            rig_.send(*sender.client, "EHLO client.example\r\n");
            sender.stage = Stage::hello;
            return;
        case Stage::hello:
            begin_letter(sender);
            return;
        case Stage::mail:
            sender.letter = &ledger_.write_letter();
            for (const auto& [address, recipient] : sender.letter->recipients) {
                sender.recipients.push_back(address);
            }
            sender.stage = Stage::recipient;
            name_recipient(sender);
            return;
        case Stage::recipient:
            if (!sender.recipients.empty()) {
                name_recipient(sender);
                return;
            }
            sender.stage = Stage::data;
            if (sender.by_chunks) {
                send_chunks(sender);
            } else {
                rig_.send(*sender.client, "DATA\r\n");
            }
            return;
        case Stage::data:
            sender.stage = Stage::content;
            rig_.send(*sender.client, stuffed(sender.letter->content) + ".\r\n");
            return;
        case Stage::content:
            if (reply.find(id_name) == std::string::npos) {
                return; // of a chunk before the last
            }
            ledger_.acknowledged(*sender.letter, reply.substr(reply.find(id_name) + id_name.size(),
                                                              spool::id_letters));
            ++tally_.acknowledged;
            tally_.resumed += full_error() == 0 && std::exchange(was_full_, false) ? 1U : 0U;
            sender.letter = nullptr;
            if (--sender.letters_left == 0) {
                leave(sender);
                return;
            }
            begin_letter(sender);
            return;
        case Stage::over:
            return;
        }
    }

    // To one of the two there is a route for reports.
    void begin_letter(Sender& sender) {
        rig_.send(*sender.client, random_.chance(0.7) ? "MAIL FROM:<sender@one.example>\r\n"
                                                      : "MAIL FROM:<sender@far.example>\r\n");
        sender.stage = Sender::Stage::mail;
    }

    void name_recipient(Sender& sender) {
        rig_.send(*sender.client, "RCPT TO:<" + sender.recipients.back() + ">\r\n");
        sender.recipients.pop_back();
    }

    void send_chunks(Sender& sender) {
        sender.stage = Sender::Stage::content;
        std::string_view rest = sender.letter->content;
        do {
            const std::string_view part = rest.substr(0, random_.between(1, 300'000));
            rest.remove_prefix(part.size());
            rig_.send(*sender.client, "BDAT " + std::to_string(part.size()) +
                                          (rest.empty() ? " LAST\r\n" : "\r\n"));
            rig_.send(*sender.client, part);
        } while (!rest.empty());
    }

    static void leave(Sender& sender) {
        sender.client->socket->close();
        sender.stage = Sender::Stage::over;
    }

    // Of writes some fail, or all; what is made fails always.
    void fill_disk(bool on) {
        rig_.disk.faults.write_full = !on ? 0 : random_.chance(0.5) ? 1 : 0.3;
        rig_.segments.request_error = on ? ENOSPC : 0;
        was_full_ = true;
    }
    [[nodiscard]] int full_error() const { return rig_.segments.request_error; }

    void end_trouble() {
        rig_.disk.faults = {};
        rig_.segments.request_error = 0;
    }

    // Then mail is taken after a while, unless what waits fills the spool.
    void calm_down() {
        end_trouble();
        senders_.clear();
        rig_.run_for(3min);
        for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
            if (one->counters.queue_bytes.value() < bytes_in_a_roomy_spool) {
                EXPECT_EQ(one->counters.spool_takes_mail.value(), 1) << "nothing goes on";
            }
        }
    }

    void restart() {
        ++tally_.restarts;
        senders_.clear(); // what they sent and was not acknowledged may be there or not
        end_trouble();
        operators_.take_answers();
        rig_.restart(static_cast<std::uint32_t>(random_.between(1, workers_max)),
                     random_.chance(0.5));
        operators_.forget();
        ledger_.started();
        tally_.disk_crc = rig_.disk.crc(tally_.disk_crc);
    }

    void end() {
        trouble_ = 0;
        end_trouble();
        for (ScriptedBackend* const backend : backends_) {
            backend->refuse_connections(false);
        }
        rig_.run_for(1s); // what was found is with the workers
        const auto rests = [&] {
            return messages_in(QueueState::failed) + messages_in(QueueState::on_hold);
        };
        EXPECT_TRUE(rig_.run_until([&] { return rig_.queued() == rests(); }, 48h))
            << rig_.queued() - rests() << " are left";
        const std::int64_t held = messages_in(QueueState::failed);
        tally_.held += static_cast<std::uint64_t>(held);
        EXPECT_TRUE(has_refused_ || held == 0) << "held, and nobody refused";
        operators_.let_everything_go();
        EXPECT_TRUE(rig_.run_until([&] { return rig_.queued() == 0; }, 48h))
            << rig_.queued() << " are left that were held";
        ledger_.judge(bounces_);
        tally_.duplicates += ledger_.duplicates();
        tally_.reported += ledger_.reported();
        tally_.full_writes += rig_.disk.totals().full;
        tally_.full_files += rig_.segments.refused_requests();
        tally_.disk_crc = rig_.disk.crc(tally_.disk_crc);
        rig_.finish();
    }

    [[nodiscard]] std::int64_t messages_in(QueueState state) const {
        std::int64_t sum = 0;
        for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
            sum += one->counters.queue_messages_by_state[static_cast<std::size_t>(state)].value();
        }
        return sum;
    }

    Random random_;
    SpoolLifeTally& tally_;
    bool bounces_; // else what failed is held
    Rig rig_;
    SpoolLedger ledger_{random_};
    SpoolOperators operators_{random_, rig_, ledger_, tally_};
    std::vector<ScriptedBackend*> backends_;
    std::vector<Sender> senders_;
    double trouble_ = 0;  // of each of a backend's answers
    double refusals_ = 0; // of those, for good
    bool has_refused_ = false;
    bool fills_up_ = false; // the disk, in this life; else it fails
    bool was_full_ = false; // and no mail was taken since
};

} // namespace

void run_spool_life(std::uint64_t seed, SpoolLifeTally& tally) { Life(seed, tally).run(); }

} // namespace ringmx::sim
