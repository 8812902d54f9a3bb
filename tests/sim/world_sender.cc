#include "sim/world_sender.h"

#include <algorithm>

namespace ringmx::sim {
namespace {

constexpr const char* addresses[] = {"192.0.2.7", "192.0.2.8", "198.51.100.1", "203.0.113.5"};

std::string random_word(Random& random, std::size_t count) {
    static constexpr std::string_view letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    std::string word;
    word.reserve(count);
    std::uint64_t bits = 0;
    for (std::size_t index = 0; index < count; ++index) {
        bits = index % 10 == 0 ? random.next() : bits >> 6U;
        word += letters[bits % letters.size()];
    }
    return word;
}

std::string random_recipient(Random& random) {
    const char* const domain = random.chance(0.7) ? "@one.example" : "@two.example";
    return "user" + std::to_string(random.below(30)) + domain;
}

std::size_t random_size(Random& random) {
    return random.chance(0.05)  ? random.between(300'000, 700'000)
           : random.chance(0.5) ? random.below(300)
                                : random.below(30'000);
}

} // namespace

std::string random_message(Random& random, std::size_t size, bool needs_line_end) {
    std::string octets;
    const char* const starts[] = {
        "", "", " ", "\t", ".", "..", ".\r\n", "\r\n", "Subject: x\r\n\r\n"};
    octets += starts[random.below(std::size(starts))];
    const std::size_t line_max = size > 50'000 ? 2000 : 120;
    while (octets.size() < size) {
        octets.append(random.chance(0.3) ? random.below(4) : 0, '.');
        octets += random_word(random, random.below(line_max));
        octets += "\r\n";
    }
    if (needs_line_end && !octets.empty() && !octets.ends_with("\r\n")) {
        octets += "\r\n";
    } else if (!needs_line_end && random.chance(0.5)) {
        octets += random_word(random, 5);
    }
    return octets;
}

WorldSender::WorldSender(World& world, std::size_t number)
    : WorldClient(world, number), from_(addresses[random_.below(std::size(addresses))]),
      messages_left_(random_.between(1, 4)) {
    in(between(0s, 60s), [this] { begin(); });
}

void WorldSender::begin() {
    resting_ = greeted_ = false;
    attempt_ = nullptr;
    connect(from_);
    expect_reply([this](const std::string& reply) {
        check("connect", reply, {"220 mx.example ESMTP ringmx"});
        const bool is_old = random_.chance(0.1);
        ask(is_old ? "HELO client.example\r\n" : "EHLO client.example\r\n",
            [this](const std::string& answer) {
                check("hello", answer, {"250"});
                greeted_ = true;
            });
    });
}

void WorldSender::hung_up() {
    attempt_ = nullptr;
    resting_ = true;
    if (leaving_ && outstanding_.empty()) {
        finish();
        return;
    }
    in(between(1s, 30s), [this] { begin(); });
}

void WorldSender::rest(Duration least, Duration most) {
    resting_ = true;
    soon(between(least, most), [this] { // else hung_up() begins anew
        resting_ = false;
        idle();
    });
}

void WorldSender::idle() {
    if (resting_ || !greeted_ || unanswered() > 0) {
        return;
    }
    if (attempt_ != nullptr) {
        go_on();
    } else if (!outstanding_.empty()) {
        begin_attempt();
    } else if (messages_left_ > 0) {
        begin_message();
    } else {
        leaving_ = true;
        ask("QUIT\r\n", [this](const std::string& reply) {
            check("QUIT", reply, {"221 2.0.0"});
            finish();
            hang_up();
        });
    }
}

void WorldSender::begin_message() {
    --messages_left_;
    by_chunks_ = random_.chance(0.4);
    octets_ = random_message(random_, random_size(random_), !by_chunks_);
    const std::uint64_t count = random_.chance(0.6) ? 1 : random_.between(2, 6);
    while (outstanding_.size() < count) {
        const std::string recipient = random_recipient(random_);
        if (std::ranges::find(outstanding_, recipient) == outstanding_.end()) {
            outstanding_.push_back(recipient);
        }
    }
    begin_attempt();
}

void WorldSender::begin_attempt() {
    std::string sender = "c" + std::to_string(number_) + "." + std::to_string(++attempts_);
    attempt_ = &world_.ledger.begin(sender + "@far.example", octets_);
    attempt_->by_chunks = by_chunks_;
    style_ = static_cast<Style>(random_.below(by_chunks_ ? 4 : 3));
    asking_ = outstanding_;
    if (random_.chance(0.1)) {
        asking_.insert(asking_.begin() + static_cast<std::ptrdiff_t>(random_.below(asking_.size())),
                       "stranger@nowhere.example");
    }
    asked_count_ = 0;
    mail_taken_ = content_said_ = false;
    dribble(random_.chance(0.2));
    ask("RSET\r\n", [this](const std::string& reply) { check("RSET", reply, {"250 2.0.0"}); });
    say_mail();
    if (style_ == Style::lock_step) {
        return;
    }
    for (const std::string& recipient : asking_) {
        say_recipient(recipient);
    }
    if (style_ == Style::envelope_and_data) {
        by_chunks_ ? say_chunks() : say_data();
    } else if (style_ == Style::all) {
        say_chunks();
    }
}

void WorldSender::say_mail() {
    std::string line = "MAIL FROM:<" + attempt_->sender + ">";
    line += random_.chance(0.3) ? " SIZE=" + std::to_string(octets_.size()) : "";
    line += random_.chance(0.3) ? " BODY=8BITMIME" : "";
    ++world_.mails_sent;
    ask(line + "\r\n", [this](const std::string& reply) {
        ++world_.mails_answered;
        check("MAIL", reply, {"250 2.1.0", "452 4.3.1"});
        mail_taken_ = reply.starts_with("250");
    });
}

void WorldSender::say_recipient(const std::string& recipient) {
    ++asked_count_;
    attempt_->recipients.push_back(recipient);
    ask("RCPT TO:<" + recipient + ">\r\n", [this, recipient](const std::string& reply) {
        if (mail_taken_) {
            (void)world_.ledger.told_recipient(*attempt_, recipient, reply);
        } else {
            check("RCPT behind a refused MAIL", reply, {"503 5.5.1"});
        }
    });
}

void WorldSender::say_data() {
    content_said_ = true;
    attempt_->content_offered = true;
    ask("DATA\r\n", [this](const std::string& reply) {
        if (!mail_taken_) {
            check("DATA behind a refused MAIL", reply, {"503 5.5.1"});
            end_attempt();
        } else if (world_.ledger.told_data(*attempt_, reply)) {
            send_content();
        } else {
            end_attempt();
        }
    });
}

void WorldSender::send_content() {
    dribble(random_.chance(0.2));
    ask(dots_stuffed(octets_) + ".\r\n",
        [this](const std::string& reply) { final_answered(reply); });
    when_poured([attempt = attempt_] { attempt->ended = true; });
}

void WorldSender::say_chunks() {
    content_said_ = true;
    attempt_->content_offered = true;
    std::size_t offset = 0;
    while (random_.chance(0.5)) {
        const std::size_t count = random_.below(octets_.size() - offset + 1);
        ask("BDAT " + std::to_string(count) + "\r\n" + octets_.substr(offset, count),
            [this](const std::string& reply) { chunk_answered(reply); });
        offset += count;
    }
    ask("BDAT " + std::to_string(octets_.size() - offset) + " LAST\r\n" + octets_.substr(offset),
        [this](const std::string& reply) { final_answered(reply); });
    when_poured([attempt = attempt_] { attempt->ended = true; });
}

void WorldSender::chunk_answered(const std::string& reply) {
    if (!mail_taken_) {
        check("BDAT behind a refused MAIL", reply, {"503 5.5.1"});
    } else if (attempt_->accepted.empty()) {
        check("BDAT without a recipient", reply, {"554 5.5.1"});
    } else if (reply.starts_with("2")) {
        check("BDAT", reply, {"250 2.0.0"});
    } else {
        (void)world_.ledger.told_final(*attempt_, reply);
    }
}

void WorldSender::final_answered(const std::string& reply) {
    if (!mail_taken_ || attempt_->accepted.empty()) {
        chunk_answered(reply);
    } else if (world_.ledger.told_final(*attempt_, reply)) {
        ++world_.through;
        std::erase_if(outstanding_, [this](const std::string& recipient) {
            return std::ranges::find(attempt_->accepted, recipient) != attempt_->accepted.end();
        });
    }
    end_attempt();
}

// What was asked is answered, and the transaction is not over.
void WorldSender::go_on() {
    const bool all_asked = asked_count_ == asking_.size();
    if (!mail_taken_ || (all_asked && (attempt_->accepted.empty() || content_said_))) {
        end_attempt();
    } else if (!all_asked) {
        say_recipient(asking_[asked_count_]);
    } else {
        by_chunks_ ? say_chunks() : say_data();
    }
}

void WorldSender::end_attempt() {
    attempt_ = nullptr;
    outstanding_.empty() ? rest(0s, 5s) : rest(1s, 20s);
}

} // namespace ringmx::sim
