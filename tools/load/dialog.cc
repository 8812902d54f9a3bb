#include "load/dialog.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace ringmx::load {

using smtp::ClientCommand;
using smtp::ClientEvent;

namespace {

// Up to this a send is over when it is submitted, and only its completion is seen later, often with
// the reply; what is larger waits for room in the socket.
constexpr std::uint64_t sent_at_once_bytes_max = 64 * 1024;

std::string kind_of(const smtp::Reply& reply) {
    return fmt::format("{} {}.{}.{}", reply.code, reply.enhanced.class_digit,
                       reply.enhanced.subject, reply.enhanced.detail);
}

Dialog::Ending ending_of(const smtp::Reply& reply) {
    switch (reply.severity()) {
    case 4:
        return Dialog::Ending::tempfailed;
    case 5:
        return Dialog::Ending::rejected;
    default:
        return Dialog::Ending::error;
    }
}

} // namespace

Dialog::Dialog(const Options& options, Result& result)
    : options_(options), result_(result), session_(options.hello, options.lmtp) {
    mail_.reverse_path = options.from;
}

void Dialog::open(Instant now) { began_ = now; }

Dialog::Step Dialog::receive(Bytes input, Instant now) {
    std::size_t consumed = 0;
    while (true) {
        const smtp::ClientSession::Step step = session_.receive(input.subspan(consumed));
        consumed += step.consumed;
        if (phase_ == Phase::greeting && !session_.output().empty()) {
            result_.part(Part::greeting).record(now - began_);
            began_ = now;
            phase_ = Phase::hello;
        }
        Event event = Event::need_input;
        switch (step.event) {
        case ClientEvent::need_input:
            return {Event::need_input, consumed};
        case ClientEvent::ready:
            result_.part(Part::hello).record(now - began_);
            phase_ = Phase::idle;
            return {Event::ready, consumed};
        case ClientEvent::failed:
            event = fail(ending_of(session_.reply()), kind_of(session_.reply()));
            break;
        case ClientEvent::malformed:
            event = fail(Ending::error, fmt::format("{}: not an SMTP reply", phase_word()));
            break;
        case ClientEvent::reply:
            event = take_reply(now);
            break;
        }
        if (event != Event::need_input) {
            return {event, consumed};
        }
    }
}

void Dialog::begin(const Message& message, std::uint64_t sequence, MessageSource& source,
                   Instant now) {
    message_ = &message;
    source_ = &source;
    sequence_ = sequence;
    began_ = now;
    recipients_sent_ = recipients_answered_ = recipients_accepted_ = 0;
    has_failed_ = content_due_ = content_submitted_ = is_empty_content_ = false;
    outcome_ = {Ending::accepted, {}};
    pipelined_ = options_.pipelining && session_.capabilities().pipelining;
    chunked_ = options_.chunking && session_.capabilities().chunking;
    phase_ = Phase::envelope;
    session_.mail(mail_, message.octets);
    if (pipelined_) {
        while (recipients_sent_ < message.recipients) {
            session_.recipient(source.recipient(sequence, recipients_sent_++));
        }
        queue_body();
    }
}

void Dialog::quit() {
    phase_ = Phase::quit;
    session_.quit();
}

// DATA, or BDAT with its content right behind it.
void Dialog::queue_body() {
    if (chunked_) {
        session_.chunk(message_->octets, true);
        content_due_ = true;
    } else {
        session_.data();
    }
}

void Dialog::content_submitted(Instant now) {
    content_due_ = false;
    content_submitted_ = true;
    submitted_ = now;
}

void Dialog::content_sent(Instant now) {
    if (message_->octets > sent_at_once_bytes_max) {
        submitted_ = now;
    }
}

Dialog::Event Dialog::take_reply(Instant now) {
    const smtp::Reply& reply = session_.reply();
    switch (session_.command()) {
    case ClientCommand::mail:
    case ClientCommand::recipient:
    case ClientCommand::data:
        return envelope_reply(reply, now);
    case ClientCommand::content:
    case ClientCommand::chunk:
        return content_reply(reply, now);
    case ClientCommand::reset:
        if (reply.severity() != 2) {
            return fail(Ending::error, "RSET: " + kind_of(reply));
        }
        phase_ = Phase::idle;
        return Event::done;
    case ClientCommand::quit:
        return Event::closed;
    case ClientCommand::unsolicited: // 421: the server is about to close
        return fail(ending_of(reply), kind_of(reply));
    case ClientCommand::greeting:
    case ClientCommand::hello:
        return fail(Ending::error, fmt::format("{}: {}", phase_word(), kind_of(reply)));
    }
    return Event::need_input;
}

Dialog::Event Dialog::envelope_reply(const smtp::Reply& reply, Instant now) {
    if (reply.code == 421) {
        return fail(Ending::tempfailed, kind_of(reply));
    }
    if (session_.command() == ClientCommand::data) {
        if (reply.code != 354) {
            note_failure(reply);
            return conclude();
        }
        envelope_answered(now);
        is_empty_content_ = recipients_accepted_ == 0;
        phase_ = Phase::content;
        content_due_ = true;
        session_.content_sent(std::max(1U, recipients_accepted_));
        return Event::need_input;
    }
    const bool is_recipient = session_.command() == ClientCommand::recipient;
    if (is_recipient) {
        ++recipients_answered_;
    }
    if (reply.severity() != 2) {
        result_.recipients_refused += is_recipient ? 1U : 0U;
        note_failure(reply);
        if (!is_recipient && !pipelined_) {
            return conclude();
        }
    } else if (is_recipient) {
        ++recipients_accepted_;
    }
    const bool is_settled = recipients_answered_ == message_->recipients;
    if (chunked_ && pipelined_ && is_settled) {
        envelope_answered(now);
    }
    if (pipelined_) {
        return Event::need_input; // the answer to DATA or BDAT decides
    }
    if (is_settled && recipients_accepted_ == 0) {
        return conclude();
    }
    send_next(now);
    return Event::need_input;
}

void Dialog::envelope_answered(Instant now) {
    if (!has_failed_) {
        result_.part(Part::envelope).record(now - began_);
    }
    phase_ = Phase::content;
}

void Dialog::send_next(Instant now) {
    if (recipients_sent_ < message_->recipients) {
        session_.recipient(source_->recipient(sequence_, recipients_sent_++));
        return;
    }
    if (chunked_) {
        envelope_answered(now);
    }
    queue_body();
}

// One, or with LMTP one for each recipient that was accepted.
Dialog::Event Dialog::content_reply(const smtp::Reply& reply, Instant now) {
    if (reply.code == 421) {
        return fail(Ending::tempfailed, kind_of(reply));
    }
    if (reply.severity() != 2 || recipients_accepted_ == 0) {
        note_failure(reply);
    }
    if (session_.unanswered() > 0) {
        return Event::need_input;
    }
    if (outcome_.ending == Ending::accepted) {
        result_.part(Part::end_of_data).record(now - submitted_);
    }
    phase_ = Phase::idle;
    if (chunked_ && has_failed_) {
        phase_ = Phase::envelope; // a refused BDAT leaves the transaction open (RFC 3030, 2)
        return conclude();
    }
    return Event::done;
}

// The first refusal is the message's fate; that of some recipients is not, while others were taken.
void Dialog::note_failure(const smtp::Reply& reply) {
    const bool is_one_of_many =
        session_.command() == ClientCommand::recipient &&
        (recipients_accepted_ > 0 || recipients_answered_ < message_->recipients);
    if (has_failed_ || is_one_of_many) {
        return;
    }
    has_failed_ = true;
    outcome_ = {ending_of(reply), kind_of(reply)};
}

// The transaction has failed before its end: the next one begins after RSET.
Dialog::Event Dialog::conclude() {
    if (session_.unanswered() == 0) {
        phase_ = Phase::reset;
        session_.reset();
    }
    return Event::need_input;
}

Dialog::Event Dialog::fail(Ending ending, std::string kind) {
    outcome_ = {ending, std::move(kind)};
    return Event::failed;
}

const char* Dialog::phase_word() const {
    switch (phase_) {
    case Phase::greeting:
        return "greeting";
    case Phase::hello:
        return "hello";
    case Phase::idle:
        return "between messages";
    case Phase::envelope:
        return "envelope";
    case Phase::content:
        return content_submitted_ ? "end of data" : "data";
    case Phase::reset:
        return "RSET";
    case Phase::quit:
        return "QUIT";
    }
    return "";
}

} // namespace ringmx::load
