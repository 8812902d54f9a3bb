#include "sink/connection.h"

#include <algorithm>
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
constexpr Reply message_tempfailed{451, {4, 3, 0}, "Try again later, as asked for by --tempfail"};
constexpr Reply message_rejected{550, {5, 7, 1}, "Refused, as asked for by --reject"};
constexpr Reply message_not_stored{451, {4, 3, 0}, "The message can't be stored"};

// Plays no part in what is tested; only keeps a transaction's memory bounded.
constexpr std::uint32_t recipients_max = 100'000;

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

Connection::Connection(Ledger& ledger)
    : ledger_(ledger), session_(ledger.server), reader_(ledger.record.is_open()) {
    ++ledger_.totals.connections;
    session_.greet();
}

Connection::Step Connection::receive(Bytes input) {
    std::size_t consumed = 0;
    for (;;) {
        const smtp::ServerSession::Step step = session_.receive(input.subspan(consumed));
        consumed += step.consumed;
        switch (step.event) {
        case ServerEvent::need_input:
            return {Wish::need_input, consumed};
        case ServerEvent::blocked: // every answer but a message's is given at once
            return {Wish::wait, consumed};
        case ServerEvent::mail:
            begin_message();
            session_.answer_mail(sender_ok);
            break;
        case ServerEvent::recipient:
            if (ledger_.store) {
                envelope_.rcpt_to.push_back(session_.recipient().mailbox);
            }
            session_.answer_recipient(recipient_ok, AnswerSource::own, false);
            break;
        case ServerEvent::data:
            session_.answer_data(smtp::start_data);
            break;
        case ServerEvent::content:
            take_content(step);
            break;
        case ServerEvent::content_end:
            if (ledger_.options.delay > Duration::zero()) {
                return {Wish::wait, consumed};
            }
            if (!conclude()) {
                return {Wish::drop, consumed};
            }
            break;
        case ServerEvent::hello:
        case ServerEvent::content_refused:
        case ServerEvent::reset:
            draft_ = {};
            break;
        case ServerEvent::close:
            return {Wish::close, consumed};
        }
    }
}

void Connection::begin_message() {
    reader_.reset();
    unstuffer_ = {};
    draft_ = {};
    store_error_.reset();
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

Connection::Verdict Connection::draw_verdict() {
    const Options& options = ledger_.options;
    if (options.tempfail + options.reject == 0) {
        return Verdict::taken;
    }
    // A dropped message gets no verdict, so that the draws here share what is left.
    const double draw = ledger_.draw() * (1 - options.disconnect);
    if (draw < options.tempfail) {
        return Verdict::tempfailed;
    }
    return draw < options.tempfail + options.reject ? Verdict::rejected : Verdict::taken;
}

bool Connection::conclude() {
    reader_.finish();
    if (ledger_.options.disconnect > 0 && ledger_.draw() < ledger_.options.disconnect) {
        draft_ = {};
        return false;
    }
    const std::uint32_t recipients = session_.recipients_accepted();
    verdicts_.assign(ledger_.options.lmtp ? recipients : 1U, Verdict::taken);
    std::size_t taken = 0;
    for (Verdict& verdict : verdicts_) {
        verdict = draw_verdict();
        taken += verdict == Verdict::taken ? 1U : 0U;
    }
    if (taken > 0 && ledger_.store && !store_message()) {
        std::ranges::replace(verdicts_, Verdict::taken, Verdict::not_stored);
        taken = 0;
    }
    draft_ = {};
    if (taken > 0) {
        acknowledge(ledger_.options.lmtp ? taken : recipients);
    }
    for (const Verdict verdict : verdicts_) {
        switch (verdict) {
        case Verdict::taken:
            session_.answer_message(message_taken);
            break;
        case Verdict::tempfailed:
            session_.answer_message(message_tempfailed);
            break;
        case Verdict::rejected:
            session_.answer_message(message_rejected);
            break;
        case Verdict::not_stored:
            session_.answer_message(message_not_stored);
            break;
        }
    }
    return true;
}

bool Connection::store_message() {
    envelope_.chunking = session_.content_chunked();
    if (ledger_.options.lmtp) {
        std::size_t index = 0;
        std::erase_if(envelope_.rcpt_to,
                      [&](const std::string&) { return verdicts_[index++] != Verdict::taken; });
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
    if (reader_.message_id().empty()) {
        ++totals.messages_without_id;
        return;
    }
    totals.ids.insert(reader_.message_id());
    if (ledger_.record.is_open()) {
        ledger_.record.add(reader_.message_id(), reader_.octets(), reader_.checksum());
    }
}

} // namespace ringmx::sink
