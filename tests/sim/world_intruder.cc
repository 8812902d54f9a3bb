#include "sim/world_intruder.h"

#include "sim/world_sender.h"

#include <algorithm>

namespace ringmx::sim {
namespace {

const char* const intruder_address = "198.51.100.66";

// Each bare CR and LF as CRLF: what smtp.bare_newline "normalize" makes of a message.
std::string normalized(const std::string& octets) {
    std::string made;
    for (std::size_t index = 0; index < octets.size(); ++index) {
        const bool is_crlf = octets[index] == '\r' && octets[index + 1] == '\n';
        if (is_crlf || octets[index] == '\r' || octets[index] == '\n') {
            made += "\r\n";
            index += is_crlf ? 1U : 0U;
        } else {
            made += octets[index];
        }
    }
    return made;
}

} // namespace

WorldIntruder::WorldIntruder(World& world, std::size_t number)
    : WorldClient(world, number), moves_left_(random_.between(1, 8)) {
    in(between(0s, 3min), [this] { begin(); });
}

void WorldIntruder::begin() {
    greeted_ = resting_ = false;
    connect(intruder_address);
    if (random_.chance(0.1)) { // before the greeting
        say("EHLO early.example\r\n");
        expect_reply([this](const std::string& reply) {
            check("connect", reply, {"220 mx.example ESMTP ringmx", "554 5.5.1"});
        });
        expect_reply([this](const std::string& reply) {
            check("hello", reply, {"250"});
            greeted_ = true;
        });
        return;
    }
    expect_reply([this](const std::string& reply) {
        check("connect", reply, {"220 mx.example ESMTP ringmx", "554 5.5.1"});
        ask("EHLO intruder.example\r\n", [this](const std::string& answer) {
            check("hello", answer, {"250"});
            greeted_ = true;
        });
    });
}

void WorldIntruder::hung_up() {
    if (moves_left_ == 0) {
        finish();
        return;
    }
    in(between(1s, 20s), [this] { begin(); });
}

void WorldIntruder::idle() {
    if (greeted_ && !resting_ && unanswered() == 0 && !pouring()) {
        resting_ = true;
        soon(between(0s, random_.chance(0.05) ? Duration(6min) : Duration(5s)), [this] {
            resting_ = false;
            move();
        });
    }
}

void WorldIntruder::move() {
    if (moves_left_ == 0) {
        leave(false);
        return;
    }
    --moves_left_;
    dribble(random_.chance(0.3));
    switch (random_.below(12)) {
    case 0:
        flood();
        return;
    case 1:
        break_syntax();
        return;
    case 2:
        break_order();
        return;
    case 3:
        go_deaf();
        return;
    case 4:
    case 5:
    case 6:
        transaction(Then::smuggle);
        return;
    case 7:
    case 8:
    case 9:
        transaction(Then::deliver);
        return;
    default:
        transaction(Then::give_up);
        return;
    }
}

void WorldIntruder::flood() {
    const std::uint64_t count = random_.between(10, 400);
    const std::string noop = "NOOP " + std::string(random_.below(1900), 'x') + "\r\n";
    const std::string lines[] = {noop, noop, "HELP\r\n", "VRFY user\r\n", "RSET\r\n"};
    for (std::uint64_t index = 0; index < count; ++index) {
        ask(lines[random_.below(std::size(lines))], [this](const std::string& reply) {
            check("a flood", reply, {"250 2.0.0", "214 2.0.0", "252 2.5.0"});
        });
    }
}

// Whatever transaction an earlier move left open.
void WorldIntruder::forget() {
    ask("RSET\r\n", [this](const std::string& reply) { check("RSET", reply, {"250 2.0.0"}); });
}

void WorldIntruder::break_syntax() {
    forget();
    const std::string smuggled = "MAIL FROM:<smuggled@evil.example>";
    const std::string lines[] = {
        "NOOP\n" + smuggled + "\r\n",
        "NOOP\r" + smuggled + "\r\n",
        std::string(random_.between(2047, 9000), 'x') + "\r\n",
        std::string("\0\0\0\r\n", 5),
        "\x16\x03\x01\x02\r\n",
        "MAIL FROM:<a@b.example\r\n",
        "MAIL FROM:<a@b.example> SIZE=-1\r\n",
        "MAIL FROM:<a@b.example> WHAT=1\r\n",
        "DATA now\r\n",
        "GET / HTTP/1.1\r\n",
        "EXPN list\r\n",
        "STARTTLS\r\n",
    };
    const std::string& line = lines[random_.below(std::size(lines))];
    world_.mails_sent += line.starts_with("MAIL") ? 1U : 0U; // counted, unless it is out of order
    ask(line, [this](const std::string& reply) { check("a bad line", reply, {"5"}); });
}

void WorldIntruder::break_order() {
    forget();
    const std::string chunk = random_message(random_, random_.below(3000), false);
    const std::string lines[] = {
        "RCPT TO:<user1@one.example>\r\n",
        "DATA\r\n",
        "BDAT " + std::to_string(chunk.size()) + "\r\n" + chunk,
        "BDAT " + std::to_string(chunk.size()) + " LAST\r\n" + chunk,
        "BDAT many\r\n",
    };
    ask(lines[random_.below(std::size(lines))], [this](const std::string& reply) {
        check("out of order", reply, {"503 5.5.1", "554 5.5.1", "501 5.5.4"});
    });
}

void WorldIntruder::go_deaf() {
    socket()->pause();
    flood();
    const Duration time = random_.chance(0.1) ? Duration(7min) : between(1s, 20s);
    soon(time, [this] { socket()->resume(); });
}

// In content without a word, which would be content.
void WorldIntruder::leave(bool in_content) {
    resting_ = true;
    switch (random_.below(in_content ? 4 : 5)) {
    case 0:
        hang_up(true);
        return;
    case 1:
        half_close();
        soon(1min, [this] { hang_up(); });
        return;
    case 2: // silence, until it is thrown out
        soon(20min, [this] { hang_up(); });
        return;
    case 3:
        hang_up();
        return;
    default:
        ask("QUIT\r\n", [](const std::string&) {});
        soon(1min, [this] { hang_up(); });
        return;
    }
}

// Commands in the middle of a message, behind what is no end of data; as it is sent.
std::string WorldIntruder::smuggling_wire(bool by_chunks) {
    // Behind a bare newline the dot is content like any other; those after them have it on a true
    // line, where what ringmx makes of it when it normalises is its own affair.
    static const char* const false_ends[] = {
        "\n.\n",     "\n.\r\n", "\r.\r",   "\r.\r\n",     "\n\n.\r\n",   "\r\n\r.\r\n",
        "\r\r\n.\n", "\r\n.\n", "\r\n.\r", "\r\n.\r\r\n", "\r\n.\n\r\n",
    };
    const std::size_t ends_count = world_.normalizes && !by_chunks ? 6 : std::size(false_ends);
    const std::size_t size = random_.chance(0.1) ? 400'000 : random_.below(500);
    const std::string begin = random_message(random_, size, true) + "x";
    return (by_chunks ? begin : dots_stuffed(begin)) + false_ends[random_.below(ends_count)] +
           "MAIL FROM:<smuggled@evil.example>\r\nRCPT TO:<user1@one.example>\r\nDATA\r\n"
           "Subject: smuggled\r\n";
}

Attempt& WorldIntruder::begin_attempt(Then then) {
    const bool by_chunks = random_.chance(0.4);
    std::string sender = "i" + std::to_string(number_) + "." + std::to_string(++attempts_);
    std::string octets;
    if (then == Then::smuggle) {
        octets = smuggling_wire(by_chunks);
    } else {
        octets = random_message(random_, random_.below(300'000), true);
    }
    std::string wire;
    if (then == Then::smuggle) {
        wire = octets;
        octets = by_chunks ? octets : unstuffed(octets);
    } else {
        wire = by_chunks ? octets : dots_stuffed(octets);
    }
    Attempt& attempt = world_.ledger.begin(sender + "@evil.example", std::move(octets));
    if (then == Then::smuggle && world_.normalizes) {
        attempt.octets = normalized(attempt.octets);
    } else {
        attempt.is_poison = then == Then::smuggle || attempt.octets.size() > world_.size_max;
    }
    attempt.by_chunks = by_chunks;
    wire_ = std::move(wire);
    return attempt;
}

void WorldIntruder::transaction(Then then) {
    Attempt& attempt = begin_attempt(then);
    forget();
    ++world_.mails_sent;
    ask("MAIL FROM:<" + attempt.sender + ">\r\n", [this](const std::string& reply) {
        ++world_.mails_answered;
        check("MAIL", reply, {"250 2.1.0", "452 4.3.1"});
    });
    const std::string recipient = "user" + std::to_string(random_.below(30)) + "@one.example";
    attempt.recipients.push_back(recipient);
    ask("RCPT TO:<" + recipient + ">\r\n",
        [this, &attempt, recipient, then](const std::string& reply) {
            if (reply.starts_with("503 5.5.1")) {
                return; // MAIL was refused
            }
            if (world_.ledger.told_recipient(attempt, recipient, reply)) {
                go_on(attempt, then);
            }
        });
}

void WorldIntruder::go_on(Attempt& attempt, Then then) {
    if (then == Then::give_up && random_.chance(0.3)) {
        give_up(attempt);
        return;
    }
    attempt.content_offered = true;
    if (attempt.by_chunks) {
        if (then == Then::give_up) {
            say("BDAT " + std::to_string(wire_.size() + 1) + " LAST\r\n" + wire_);
            give_up(attempt);
        } else {
            send_chunk(attempt);
        }
        return;
    }
    ask("DATA\r\n", [this, &attempt, then](const std::string& reply) {
        if (!world_.ledger.told_data(attempt, reply)) {
            return;
        }
        if (then == Then::give_up) {
            say(std::string_view(wire_).substr(0, random_.below(wire_.size() + 1)));
            give_up(attempt);
        } else {
            send_data(attempt);
        }
    });
}

void WorldIntruder::send_data(Attempt& attempt) {
    ask(wire_ + ".\r\n", [this, &attempt](const std::string& reply) {
        (void)world_.ledger.told_final(attempt, reply);
    });
    when_poured([this, &attempt] { last_octet_sent(attempt); });
}

void WorldIntruder::send_chunk(Attempt& attempt) {
    const std::size_t half = random_.below(wire_.size());
    ask("BDAT " + std::to_string(half) + "\r\n" + wire_.substr(0, half),
        [this, &attempt](const std::string& reply) {
            if (!reply.starts_with("250 2.0.0")) {
                (void)world_.ledger.told_final(attempt, reply);
            }
        });
    ask("BDAT " + std::to_string(wire_.size() - half) + " LAST\r\n" + wire_.substr(half),
        [this, &attempt](const std::string& reply) {
            (void)world_.ledger.told_final(attempt, reply);
        });
    when_poured([this, &attempt] { last_octet_sent(attempt); });
}

// The message is whole; some don't wait for what becomes of it.
void WorldIntruder::last_octet_sent(Attempt& attempt) {
    attempt.ended = true;
    if (random_.chance(0.5)) {
        resting_ = true;
        soon(between(0s, random_.chance(0.5) ? Duration(10ms) : Duration(3s)),
             [this] { leave(true); });
    }
}

// Somewhere in a transaction, with its last octet not sent.
void WorldIntruder::give_up(Attempt& attempt) {
    if (attempt.content_offered) {
        resting_ = true; // what it said next would be content
        soon(between(0s, random_.chance(0.2) ? Duration(5min) : Duration(5s)),
             [this] { leave(true); });
        return;
    }
    const char* const lines[] = {"RSET\r\n", "EHLO again.example\r\n",
                                 "MAIL FROM:<nested@evil.example>\r\n"};
    ask(lines[random_.below(std::size(lines))],
        [this](const std::string& reply) { check("giving up", reply, {"250", "503 5.5.1"}); });
}

} // namespace ringmx::sim
