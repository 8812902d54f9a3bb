#include "sink/connection.h"

#include "base/assert.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fmt/format.h>
#include <utility>

namespace ringmx::sink {
namespace {

using smtp::AnswerSource;
using smtp::Reply;
using smtp::ServerEvent;

constexpr Reply sender_ok{250, {2, 1, 0}, "Ok"};
constexpr Reply recipient_ok{250, {2, 1, 5}, "Ok"};
constexpr Reply message_taken{250, {2, 0, 0}, "Ok"};
constexpr Reply message_not_stored{451, {4, 3, 0}, "The message can't be stored"};
constexpr Reply tempfailed{451, {4, 3, 0}, "Try again later, as asked for"};
constexpr Reply rejected{550, {5, 7, 1}, "Refused, as asked for"};
constexpr Reply busy{421, {4, 3, 2}, "Too busy, as asked for"};
constexpr Reply greylisted{450, {4, 2, 0}, "Greylisted, try again later"};
constexpr Reply idle_too_long{421, {4, 4, 2}, "Idle for too long"};

// Plays no part in what is tested; only keeps a transaction's memory bounded.
constexpr std::uint32_t recipients_max = 100'000;

// No code, and octets that have no place in a reply.
constexpr std::string_view malformed_reply = "2x0=\x01\xff Ok\n\r\r\n";

template <std::size_t bytes> constexpr std::array<char, bytes> repeated(std::string_view text) {
    std::array<char, bytes> filled{};
    for (std::size_t index = 0; index < bytes; ++index) {
        filled[index] = text[index % text.size()];
    }
    return filled;
}

constexpr std::string_view endless_reply_line = "250-And there is more\r\n";
constexpr auto endless_reply = repeated<endless_reply_line.size() * 256>(endless_reply_line);
constexpr auto endless_line = repeated<endless_reply.size()>("x");

const Reply& reply_of(Mischief verdict, const Reply& otherwise) {
    if (verdict == Mischief::tempfail) {
        return tempfailed;
    }
    return verdict == Mischief::reject ? rejected : otherwise;
}

} // namespace

smtp::ServerSettings server_settings(const Options& options) {
    smtp::ServerSettings settings;
    settings.hostname = options.hostname;
    settings.greeting_text = options.lmtp ? "LMTP ringmx-sink" : "ESMTP ringmx-sink";
    settings.lmtp = options.lmtp;
    settings.offer_pipelining = options.offer_pipelining;
    settings.offer_chunking = options.offer_chunking;
    settings.recipients_max = recipients_max;
    settings.errors_max = 0;
    settings.unknown_recipients_max = 0;
    settings.received_fields_max = 0;
    return settings;
}

Ledger::Ledger(const Options& settings, unsigned worker)
    : options(settings), server(server_settings(settings)),
      random(settings.seed * 0x9e37'79b9'7f4a'7c15U + worker) {}

double Ledger::draw() { return static_cast<double>(random() >> 11U) * 0x1p-53; }

Connection::Connection(Ledger& ledger, Backend& backend)
    : ledger_(ledger), backend_(backend), session_(ledger.server),
      reader_(ledger.record.is_open()) {
    ++ledger_.totals.connections;
}

Connection::Wish Connection::greet() { return meet(Phase::connect); }

Connection::Step Connection::receive(Bytes input) {
    std::size_t consumed = 0;
    for (;;) {
        const smtp::ServerSession::Step step = session_.receive(input.subspan(consumed));
        consumed += step.consumed;
        Wish wish = Wish::need_input;
        switch (step.event) {
        case ServerEvent::need_input:
            return {Wish::need_input, consumed};
        case ServerEvent::blocked:
            RINGMX_ASSERT(false); // whatever is asked is answered before more is read
            break;
        case ServerEvent::hello:
            draft_ = {};
            wish = meet(Phase::ehlo);
            break;
        case ServerEvent::mail:
            begin_message();
            wish = meet(Phase::mail);
            break;
        case ServerEvent::recipient:
            wish = meet(Phase::rcpt);
            break;
        case ServerEvent::data:
            wish = meet(Phase::data);
            break;
        case ServerEvent::content:
            take_content(step);
            if (!is_content_met_ &&
                session_.content_bytes() > backend_.personality.content_after_bytes) {
                is_content_met_ = true;
                wish = meet(Phase::content);
            }
            break;
        case ServerEvent::content_end:
            reader_.finish();
            wish = meet(Phase::end_of_data);
            break;
        case ServerEvent::content_refused:
        case ServerEvent::reset:
            draft_ = {};
            break;
        case ServerEvent::close:
            wish = Wish::close;
            break;
        }
        if (wish != Wish::need_input) {
            return {wish, consumed};
        }
    }
}

// The client has come to this phase: decides what is to happen, and does it unless it is to wait.
Connection::Wish Connection::meet(Phase phase) {
    const PhaseBehavior& behavior = backend_.personality.at(phase);
    phase_ = phase;
    mischief_ = Mischief::none;
    if ((phase == Phase::connect || phase == Phase::mail) &&
        backend_.personality.is_storm(ledger_.now - backend_.begun)) {
        mischief_ = Mischief::busy;
    } else if (behavior.is_drawn()) {
        mischief_ = behavior.mischief_at(ledger_.draw());
    }
    if (phase == Phase::ehlo) {
        hold_hello();
    }
    return behavior.delay > Duration::zero() ? Wish::wait : conclude();
}

// The session has answered EHLO already; its reply is the last in the output: to EHLO from
// the line with the host name on, to HELO one line.
void Connection::hold_hello() {
    std::string& output = session_.output();
    const std::size_t begin = session_.esmtp()
                                  ? output.rfind(fmt::format("250-{}\r\n", ledger_.server.hostname))
                                  : output.rfind('\n', output.size() - 2) + 1; // none before it: 0
    RINGMX_ASSERT(begin < output.size());
    held_hello_ = output.substr(begin);
    output.resize(begin);
}

Connection::Wish Connection::conclude() {
    std::string& output = session_.output();
    switch (mischief_) {
    case Mischief::none:
    case Mischief::tempfail:
    case Mischief::reject:
        return behave();
    case Mischief::busy:
        return end(busy);
    case Mischief::unanswered:
        keep_unanswered();
        return Wish::close;
    case Mischief::disconnect:
        draft_ = {};
        return Wish::close;
    case Mischief::malformed:
        output += malformed_reply;
        return Wish::mute;
    case Mischief::endless_line:
        output += "250 ";
        return Wish::flood;
    case Mischief::endless_reply:
        return Wish::flood;
    case Mischief::silence:
        return Wish::mute;
    case Mischief::count:
        break;
    }
    RINGMX_ASSERT(false);
    return Wish::close;
}

// Answers as a backend may, if only by a refusal.
Connection::Wish Connection::behave() {
    const bool is_refusal = mischief_ != Mischief::none;
    switch (phase_) {
    case Phase::connect:
        if (is_refusal) {
            return end(reply_of(mischief_, busy));
        }
        session_.greet();
        break;
    case Phase::ehlo:
        if (is_refusal) {
            smtp::append_reply(session_.output(), reply_of(mischief_, busy));
        } else {
            session_.output() += held_hello_;
        }
        break;
    case Phase::mail:
        session_.answer_mail(reply_of(mischief_, sender_ok));
        break;
    case Phase::rcpt:
        answer_recipient();
        break;
    case Phase::data:
        session_.answer_data(reply_of(mischief_, smtp::start_data));
        break;
    case Phase::content:
        if (is_refusal) {
            return end(reply_of(mischief_, busy));
        }
        break;
    case Phase::end_of_data:
        answer_message();
        break;
    case Phase::count:
        RINGMX_ASSERT(false);
    }
    return Wish::need_input;
}

Connection::Wish Connection::end(const Reply& reply) {
    draft_ = {};
    session_.fail(reply);
    return Wish::close;
}

void Connection::expire() {
    if (backend_.personality.idle_reply) {
        session_.fail(idle_too_long);
    }
}

std::string_view Connection::flood() const {
    const auto& text = mischief_ == Mischief::endless_line ? endless_line : endless_reply;
    return {text.data(), text.size()};
}

void Connection::begin_message() {
    reader_.reset();
    unstuffer_ = {};
    draft_ = {};
    store_error_.reset();
    is_content_met_ = false;
    if (ledger_.store) {
        const smtp::MailCommand& mail = session_.mail();
        envelope_ = {.mail_from = mail.reverse_path,
                     .rcpt_to = {},
                     .hello = std::string(session_.hello_name()),
                     .lmtp = ledger_.options.lmtp,
                     .chunking = false,
                     .smtputf8 = mail.smtputf8,
                     .body = mail.body};
    }
}

void Connection::answer_recipient() {
    const std::string& mailbox = session_.recipient().mailbox;
    Greylist& greylist = backend_.greylist;
    Reply reply = reply_of(mischief_, recipient_ok);
    if (mischief_ == Mischief::none && greylist.is_on() &&
        !greylist.passes(session_.mail().reverse_path, mailbox, ledger_.now)) {
        reply = greylisted;
    }
    if (ledger_.store && reply.severity() == 2) {
        envelope_.rcpt_to.push_back(mailbox);
    }
    session_.answer_recipient(reply, AnswerSource::own, false);
}

void Connection::take_content(const smtp::ServerSession::Step& step) {
    if (session_.content_chunked()) {
        take_octets(step.content);
    } else {
        unstuffer_.feed(step.content, [this](Bytes octets) { take_octets(octets); });
    }
}

void Connection::take_octets(Bytes octets) {
    reader_.feed(octets);
    if (ledger_.store && open_draft()) {
        draft_.append(octets);
    }
}

// Once a message: one that could not be opened is not tried again, its beginning would be missing.
bool Connection::open_draft() {
    if (!draft_.is_open() && !store_error_) {
        Expected<MessageStore::Draft> draft = ledger_.store->begin();
        if (draft) {
            draft_ = std::move(*draft);
        } else {
            store_error_ = draft.error();
        }
    }
    return draft_.is_open();
}

// What was drawn for the message is its verdict; in LMTP each recipient draws its own.
void Connection::answer_message() {
    const PhaseBehavior& behavior = backend_.personality.at(Phase::end_of_data);
    const bool is_lmtp = ledger_.options.lmtp;
    const std::uint32_t recipients = session_.recipients_accepted();
    verdicts_.clear();
    for (std::uint32_t index = 0; index < (is_lmtp ? recipients : 1U); ++index) {
        const bool is_own = is_lmtp && behavior.is_drawn();
        const Mischief verdict = is_own ? behavior.verdict_at(ledger_.draw()) : mischief_;
        verdicts_.push_back(&reply_of(verdict, message_taken));
    }
    auto taken = static_cast<std::uint32_t>(std::ranges::count(verdicts_, &message_taken));
    if (taken > 0 && ledger_.store && !store_message()) {
        std::ranges::replace(verdicts_, &message_taken, &message_not_stored);
        taken = 0;
    }
    draft_ = {};
    if (taken > 0) {
        acknowledge(is_lmtp ? taken : recipients);
    }
    for (const Reply* verdict : verdicts_) {
        session_.answer_message(*verdict);
    }
}

// It is in the store if there is one, and nowhere else: nobody was told.
void Connection::keep_unanswered() {
    verdicts_.assign(session_.recipients_accepted(), &message_taken);
    if (ledger_.store) {
        (void)store_message();
    }
    draft_ = {};
    ++ledger_.totals.unanswered;
}

bool Connection::store_message() {
    envelope_.chunking = session_.content_chunked();
    if (ledger_.options.lmtp) {
        std::size_t index = 0;
        std::erase_if(envelope_.rcpt_to,
                      [&](const std::string&) { return verdicts_[index++] != &message_taken; });
    }
    if (open_draft()) { // which an empty message has not done yet
        const Expected<std::string> name =
            ledger_.store->keep(std::exchange(draft_, {}), envelope_);
        if (name) {
            return true;
        }
        store_error_ = name.error();
    }
    fmt::print(stderr, "ringmx-sink: --store: {}\n", store_error_->message());
    return false;
}

void Connection::acknowledge(std::size_t recipients) {
    Totals& totals = ledger_.totals;
    ++totals.messages;
    totals.recipients += recipients;
    totals.bytes += session_.content_bytes();
    const bool has_id = !reader_.message_id().empty();
    if (has_id) {
        totals.ids.insert(reader_.message_id());
    } else {
        ++totals.messages_without_id;
    }
    if (ledger_.record.is_open()) {
        ledger_.record.add(has_id ? reader_.message_id() : no_message_id, reader_.octets(),
                           reader_.checksum());
    }
}

} // namespace ringmx::sink
