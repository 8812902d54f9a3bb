#include "load/message_source.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "load/corpus.h"
#include "load/generated_text.h"
#include "load/random.h"
#include "smtp/trace_field.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

namespace ringmx::load {
namespace {

// Which random number of a message is for what.
enum class Draw : std::uint8_t { size, recipients, place, count_ };

constexpr std::string_view id_domain = "@ringmx-load";
constexpr std::size_t number_digits_max = 20; // of a std::uint64_t

void append_number(std::string& out, std::uint64_t number) {
    char digits[number_digits_max];
    const std::to_chars_result result = std::to_chars(digits, digits + sizeof(digits), number);
    out.append(digits, result.ptr);
}

constexpr std::uint64_t random_of(std::uint64_t seed, std::uint64_t sequence, Draw draw) {
    return random_number(seed, sequence * static_cast<std::uint64_t>(Draw::count_) +
                                   static_cast<std::uint64_t>(draw));
}

// Equally likely in each doubling from `least` on.
std::uint64_t draw_size(const SizeRange& range, std::uint64_t random) {
    if (range.least >= range.most) {
        return range.most;
    }
    const double unit = static_cast<double>(random >> 11) * 0x1p-53; // 0 to below 1
    const double least = std::max(static_cast<double>(range.least), 1.0);
    const double most = static_cast<double>(range.most) + 1.0;
    const double size = least * std::exp2(unit * std::log2(most / least));
    // Rounding may lead past either end.
    return size >= most ? range.most : std::max(static_cast<std::uint64_t>(size), range.least);
}

} // namespace

struct MessageSource::State {
    SizeRange size;
    CountRange recipients;
    std::uint64_t seed = 0;
    bool with_checksum = false;
    std::string run;
    std::vector<std::string> recipient_parts; // of the pattern, between its '%'
    std::string recipient;                    // the last one given out
    std::string before_to;                    // the header's text behind the Message-ID,
    std::string behind_to;                    // and behind the recipient
    std::size_t header_bytes_max = 0;
    std::optional<GeneratedText> text; // or a corpus
    std::vector<CorpusMail> corpus;

    void append_recipient(std::string& out, std::uint64_t sequence, std::uint32_t number) const;
    void make_header(std::uint64_t sequence, Message& message) const;
    void make_body(std::uint64_t sequence, Message& message) const;
    [[nodiscard]] std::uint64_t size_min() const;
};

void MessageSource::State::append_recipient(std::string& out, std::uint64_t sequence,
                                            std::uint32_t number) const {
    out += recipient_parts.front();
    for (std::size_t part = 1; part < recipient_parts.size(); ++part) {
        append_number(out, sequence);
        out += '-';
        append_number(out, number);
        out += recipient_parts[part];
    }
}

void MessageSource::State::make_header(std::uint64_t sequence, Message& message) const {
    message.id.clear();
    message.id.reserve(run.size() + 1 + number_digits_max + id_domain.size());
    message.id += run;
    message.id += '.';
    append_number(message.id, sequence);
    message.id += id_domain;

    message.header.clear();
    message.header.reserve(header_bytes_max);
    message.header += "Message-ID: <";
    message.header += message.id;
    message.header += ">\r\n";
    if (text) {
        message.header += before_to;
        append_recipient(message.header, sequence, 0);
        message.header += behind_to;
    }
    RINGMX_ASSERT(message.header.size() <= header_bytes_max);
}

void MessageSource::State::make_body(std::uint64_t sequence, Message& message) const {
    message.raw.clear();
    message.stuffed.clear();
    if (!text) {
        const CorpusMail& mail = corpus[sequence % corpus.size()];
        if (!mail.raw().empty()) {
            message.raw.push_back(mail.raw());
            message.stuffed.push_back(mail.stuffed());
        }
        return;
    }
    const std::size_t pieces_max = GeneratedText::pieces_max(size.most);
    message.raw.reserve(pieces_max);
    message.stuffed.reserve(pieces_max);
    const std::uint64_t wanted = draw_size(size, random_of(seed, sequence, Draw::size));
    if (wanted >= message.header.size() + 2) {
        text->body(wanted - message.header.size(), random_of(seed, sequence, Draw::place),
                   message.raw, message.stuffed);
    }
}

// A body has at least its CRLF.
std::uint64_t MessageSource::State::size_min() const {
    Message longest;
    make_header(sequence_max, longest);
    return longest.header.size() + 2;
}

MessageSource::MessageSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
MessageSource::~MessageSource() = default;

Expected<std::unique_ptr<MessageSource>>
MessageSource::open(const Options& options, std::string_view run, bool with_checksum) {
    auto state = std::make_unique<State>();
    state->size = options.size;
    state->recipients = options.recipients;
    state->seed = options.seed;
    state->with_checksum = with_checksum;
    state->run = run;

    std::string_view pattern = options.recipient;
    for (std::size_t mark = pattern.find('%'); mark != std::string_view::npos;
         mark = pattern.find('%')) {
        state->recipient_parts.emplace_back(pattern.substr(0, mark));
        pattern.remove_prefix(mark + 1);
    }
    state->recipient_parts.emplace_back(pattern);
    const std::size_t recipient_bytes_max =
        options.recipient.size() + state->recipient_parts.size() * (2 * number_digits_max + 1);
    state->recipient.reserve(recipient_bytes_max);

    if (options.corpus.empty()) {
        // The reverse path may be empty, the field's address may not.
        state->before_to = "From: <" +
                           (options.from.empty() ? "mailer-daemon@load.example" : options.from) +
                           ">\r\nTo: <";
        state->behind_to = ">\r\nSubject: load of run " + state->run + "\r\nDate: ";
        smtp::append_date(state->behind_to,
                          WallTime(std::chrono::system_clock::now().time_since_epoch()));
        state->behind_to += "\r\n\r\n";
        state->text.emplace(options.seed);
    } else {
        Expected<std::vector<CorpusMail>> corpus = read_corpus(options.corpus);
        if (!corpus) {
            return std::unexpected(std::move(corpus.error()));
        }
        state->corpus = std::move(*corpus);
    }
    state->header_bytes_max = run.size() + number_digits_max + id_domain.size() + 64 +
                              recipient_bytes_max + state->before_to.size() +
                              state->behind_to.size();
    if (state->text && state->size.least < state->size_min()) {
        return std::unexpected(Error{
            "--size: found " + std::to_string(state->size.least) + " octets, expected at least " +
                std::to_string(state->size_min()) + ": the header is part of the message",
            0, ""});
    }
    return std::unique_ptr<MessageSource>(new MessageSource(std::move(state)));
}

void MessageSource::make(std::uint64_t sequence, Message& message) {
    state_->make_header(sequence, message);
    state_->make_body(sequence, message);

    message.octets = message.header.size();
    for (const std::string_view piece : message.raw) {
        message.octets += piece.size();
    }
    message.checksum = 0;
    if (state_->with_checksum) {
        message.checksum = crc32c(0, as_bytes(message.header));
        for (const std::string_view piece : message.raw) {
            message.checksum = crc32c(message.checksum, as_bytes(piece));
        }
    }
    const CountRange& range = state_->recipients;
    message.recipients = range.least;
    if (range.most > range.least) {
        const std::uint64_t choices = std::uint64_t{range.most} - range.least + 1;
        message.recipients += static_cast<std::uint32_t>(
            random_of(state_->seed, sequence, Draw::recipients) % choices);
    }
}

std::string_view MessageSource::recipient(std::uint64_t sequence, std::uint32_t number) {
    state_->recipient.clear();
    state_->append_recipient(state_->recipient, sequence, number);
    return state_->recipient;
}

} // namespace ringmx::load
