#include "sim/spool_life.h"

#include "sim/random.h"
#include "sim/worker_rig.h"

#include "spool/message_id.h"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::sim {
namespace {

constexpr std::uint32_t workers_max = 3;
constexpr std::size_t senders_max = 8;
constexpr std::string_view key_name = "X-Key: ";
constexpr std::string_view id_name = "queued as ";
constexpr std::int64_t bytes_in_a_roomy_spool = 4UL << 20U; // of 16 MiB for each worker
constexpr std::string_view refusal = "550 5.1.1 never";

struct Letter {
    std::string content;
    std::string id; // once it is acknowledged
    bool is_acknowledged = false;
    bool may_be_removed = false; // an operator asked
    bool is_removed = false;     // and was told so
    std::size_t taken = 0;
    std::size_t taken_max = SIZE_MAX; // by what was sent before it was removed
};

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
    std::string recipient;
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
            return std::string(refusal) + "\r\n";
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
        if (random_.chance(0.01)) {
            remove_one();
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
        take_answers();
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
            sender.letter = &write_letter();
            rig_.send(*sender.client, random_.chance(0.5) ? "RCPT TO:<user@two.example>\r\n"
                                                          : "RCPT TO:<user@one.example>\r\n");
            sender.stage = Stage::recipient;
            return;
        case Stage::recipient:
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
            sender.letter->is_acknowledged = true;
            sender.letter->id =
                reply.substr(reply.find(id_name) + id_name.size(), spool::id_letters);
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

    // Of lines, some of which begin with dots; most letters are small.
    Letter& write_letter() {
        const std::string key = std::to_string(letters_.size() + 1);
        Letter& letter = letters_[key];
        letter.content = std::string(key_name) + key + "\r\n\r\n";
        const std::size_t bytes = random_.chance(0.7)   ? random_.between(100, 8'000)
                                  : random_.chance(0.7) ? random_.between(8'000, 300'000)
                                                        : random_.between(300'000, 1'048'576);
        while (letter.content.size() < bytes) {
            letter.content.append(random_.below(3), '.');
            letter.content.append(random_.between(1, 900),
                                  static_cast<char>('a' + random_.below(26)));
            letter.content += "\r\n";
        }
        return letter;
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

    // Asked of all workers, since any may have it.
    void remove_one() {
        std::vector<Letter*> there;
        for (auto& [key, letter] : letters_) {
            if (letter.is_acknowledged && !letter.may_be_removed) {
                there.push_back(&letter);
            }
        }
        if (there.empty()) {
            return;
        }
        Letter& letter = *there[random_.below(there.size())];
        letter.may_be_removed = true;
        removals_[++questions_] = &letter;
        for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
            EXPECT_TRUE(
                one->worker->post({.kind = worker::Inbox::Kind::question,
                                   .question = {.number = questions_,
                                                .kind = QueueQuestion::Kind::remove,
                                                .id = spool::read_id(letter.id).value_or(0)}}));
        }
    }

    void take_answers() {
        QueueAnswer answer;
        for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
            while (one->worker->take_answer(answer)) {
                if (answer.result == QueueAnswer::Result::done) {
                    removals_.at(answer.question)->is_removed = true;
                    ++tally_.removed;
                }
            }
        }
    }

    // What was being forwarded when it was removed may have been taken all the same; from the next
    // start on it is gone.
    void note_removed() {
        removals_.clear();
        std::map<std::string, std::size_t> sent;
        for (const ScriptedBackend* const backend : backends_) {
            for (const std::shared_ptr<BackendMessage>& message : backend->messages) {
                if (message->octets.find(key_name) != std::string::npos) {
                    ++sent[key_of(*message)];
                }
            }
        }
        for (auto& [key, letter] : letters_) {
            if (letter.is_removed) {
                letter.taken_max = std::min(letter.taken_max, sent[key]);
            }
        }
    }

    void restart() {
        ++tally_.restarts;
        senders_.clear(); // what they sent and was not acknowledged may be there or not
        end_trouble();
        take_answers();
        rig_.restart(static_cast<std::uint32_t>(random_.between(1, workers_max)),
                     random_.chance(0.5));
        note_removed(); // nobody sends anything yet
    }

    void end() {
        trouble_ = 0;
        end_trouble();
        for (ScriptedBackend* const backend : backends_) {
            backend->refuse_connections(false);
        }
        rig_.run_for(1s); // what was found is with the workers
        EXPECT_TRUE(rig_.run_until([&] { return rig_.queued() == held(); }, 48h))
            << rig_.queued() - held() << " are left";
        tally_.held += static_cast<std::uint64_t>(held());
        EXPECT_TRUE(has_refused_ || held() == 0) << "held, and nobody refused";
        retry_what_is_held();
        EXPECT_TRUE(rig_.run_until([&] { return rig_.queued() == 0; }, 48h))
            << rig_.queued() << " are left that were held";
        for (const ScriptedBackend* const backend : backends_) {
            for (const std::shared_ptr<BackendMessage>& message : backend->messages) {
                if (message->taken && message->mail.starts_with("MAIL FROM:<>")) {
                    judge_report(*message);
                } else if (message->taken) {
                    judge(*message);
                }
            }
        }
        for (const auto& [key, letter] : letters_) {
            EXPECT_TRUE(!letter.is_acknowledged || letter.taken > 0 || letter.may_be_removed ||
                        reported_.contains(letter.id))
                << "lost: letter " << key << ", " << letter.id;
            EXPECT_LE(letter.taken, letter.taken_max)
                << "removed, and back: letter " << key << ", " << letter.id;
            tally_.duplicates += letter.taken > 1 ? letter.taken - 1 : 0;
        }
        tally_.reported += reported_.size();
        tally_.full_writes += rig_.disk.totals().full;
        tally_.full_files += rig_.segments.refused_requests();
        rig_.finish();
    }

    [[nodiscard]] std::int64_t held() const {
        std::int64_t sum = 0;
        for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
            sum +=
                one->counters.queue_messages_by_state[static_cast<std::size_t>(QueueState::failed)]
                    .value();
        }
        return sum;
    }

    // As an operator would.
    void retry_what_is_held() {
        for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
            QueueQuestion all{.kind = QueueQuestion::Kind::list, .limit = UINT32_MAX};
            all.filter.state = QueueState::failed;
            for (const QueueRow& row : ask(*one, all).rows) {
                const QueueAnswer answer =
                    ask(*one, {.kind = QueueQuestion::Kind::retry, .id = row.id});
                EXPECT_EQ(answer.result, QueueAnswer::Result::done) << spool::id_text(row.id);
            }
        }
    }

    QueueAnswer ask(RigWorker& one, QueueQuestion question) {
        EXPECT_TRUE(one.worker->post(
            {.kind = worker::Inbox::Kind::question, .question = std::move(question)}));
        QueueAnswer answer;
        EXPECT_TRUE(rig_.run_until([&] { return one.worker->take_answer(answer); }, 1min));
        return answer;
    }

    // It tells of what happened, and goes to who wants to hear of it.
    void judge_report(const BackendMessage& message) {
        EXPECT_TRUE(bounces_) << message.octets;
        EXPECT_NE(message.octets.find(refusal), std::string::npos) << message.octets;
        EXPECT_TRUE(message.recipients.size() == 1 &&
                    message.recipients[0].starts_with("RCPT TO:<sender@one.example>"));
        const std::string_view words = "The message had the queue id ";
        const std::size_t at = message.octets.find(words);
        ASSERT_NE(at, std::string::npos) << message.octets;
        reported_.insert(message.octets.substr(at + words.size(), spool::id_letters));
    }

    [[nodiscard]] static std::string key_of(const BackendMessage& message) {
        const std::size_t key = message.octets.find(key_name) + key_name.size();
        return message.octets.substr(key, message.octets.find('\r', key) - key);
    }

    void judge(const BackendMessage& message) {
        const std::size_t start = message.octets.find(key_name);
        ASSERT_NE(start, std::string::npos) << "invented: " << message.octets.substr(0, 300);
        const auto letter = letters_.find(key_of(message));
        ASSERT_NE(letter, letters_.end()) << "invented: " << message.octets.substr(0, 300);
        EXPECT_TRUE(std::string_view(message.octets).substr(start) == letter->second.content)
            << "changed: letter " << letter->first;
        ++letter->second.taken;
    }

    Random random_;
    SpoolLifeTally& tally_;
    bool bounces_; // else what failed is held
    Rig rig_;
    std::vector<ScriptedBackend*> backends_;
    std::vector<Sender> senders_;
    std::map<std::string, Letter> letters_;
    std::set<std::string> reported_; // ids
    double trouble_ = 0;             // of each of a backend's answers
    double refusals_ = 0;            // of those, for good
    bool has_refused_ = false;
    bool fills_up_ = false;                     // the disk, in this life; else it fails
    bool was_full_ = false;                     // and no mail was taken since
    std::map<std::uint64_t, Letter*> removals_; // by question
    std::uint64_t questions_ = 0;
};

} // namespace

void run_spool_life(std::uint64_t seed, SpoolLifeTally& tally) { Life(seed, tally).run(); }

} // namespace ringmx::sim
