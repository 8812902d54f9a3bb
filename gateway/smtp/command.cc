#include "smtp/command.h"

#include "base/plain_ascii.h"
#include "smtp/xtext.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

namespace ringmx::smtp {
namespace {

constexpr auto npos = std::string_view::npos;

constexpr std::size_t verb_letters = 4; // of all but STARTTLS

// Four letters of either case as one number, which nothing else has.
constexpr std::uint32_t number_of(std::string_view letters) {
    return 0x2020'2020 |
           std::bit_cast<std::uint32_t>(std::array{letters[0], letters[1], letters[2], letters[3]});
}

struct VerbName {
    std::uint32_t number;
    Verb verb;
};

// The commands of a transaction first: they are looked up most.
constexpr std::array verb_names = {
    VerbName{number_of("rcpt"), Verb::rcpt}, VerbName{number_of("mail"), Verb::mail},
    VerbName{number_of("data"), Verb::data}, VerbName{number_of("bdat"), Verb::bdat},
    VerbName{number_of("ehlo"), Verb::ehlo}, VerbName{number_of("quit"), Verb::quit},
    VerbName{number_of("rset"), Verb::rset}, VerbName{number_of("helo"), Verb::helo},
    VerbName{number_of("lhlo"), Verb::lhlo}, VerbName{number_of("noop"), Verb::noop},
    VerbName{number_of("vrfy"), Verb::vrfy}, VerbName{number_of("expn"), Verb::expn},
    VerbName{number_of("help"), Verb::help},
};

constexpr Reply bad_sender = {501, {5, 1, 7}, "Bad sender address syntax"};
constexpr Reply bad_recipient = {501, {5, 1, 3}, "Bad recipient address syntax"};
constexpr Reply non_ascii = {553, {5, 6, 7}, "Non-ASCII address without SMTPUTF8"};
constexpr Reply mail_syntax = {501, {5, 5, 4}, "Syntax: MAIL FROM:<address>"};
constexpr Reply recipient_syntax = {501, {5, 5, 4}, "Syntax: RCPT TO:<address>"};
constexpr Reply parameter_syntax = {501, {5, 5, 4}, "Bad parameter syntax"};
constexpr Reply parameter_unknown = {555, {5, 5, 4}, "Unsupported parameter"};
constexpr Reply parameter_repeated = {501, {5, 5, 4}, "Parameter given twice"};
constexpr Reply bad_size = {501, {5, 5, 4}, "Bad SIZE value"};
constexpr Reply bad_body = {501, {5, 5, 4}, "Bad BODY value"};
constexpr Reply bad_return = {501, {5, 5, 4}, "Bad RET value"};
constexpr Reply bad_envelope_id = {501, {5, 5, 4}, "Bad ENVID value"};
constexpr Reply bad_notify = {501, {5, 5, 4}, "Bad NOTIFY value"};
constexpr Reply bad_original_recipient = {501, {5, 5, 4}, "Bad ORCPT value"};
constexpr Reply bad_smtputf8 = {501, {5, 5, 4}, "SMTPUTF8 takes no value"};

constexpr std::size_t size_digits_max = 20; // RFC 1870, 4

// Objects, not functions: an algorithm that is given a function's address calls it for each octet.
constexpr auto is_blank = [](char octet) { return octet == ' ' || octet == '\t'; };
constexpr auto is_digit = [](char octet) { return octet >= '0' && octet <= '9'; };
constexpr auto is_control = [](char octet) {
    const auto value = static_cast<unsigned char>(octet);
    return (value < 0x20 && value != '\t') || value == 0x7f;
};
constexpr auto is_keyword_octet = [](char octet) {
    return is_digit(octet) || (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
           octet == '-';
};

std::string_view without_blanks(std::string_view text) {
    while (!text.empty() && is_blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && is_blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

// The word at the start of the text; the text becomes what follows it and its blanks.
std::string_view take_word(std::string_view& text) {
    const auto end = std::find_if(text.begin(), text.end(), is_blank);
    const std::string_view word = text.substr(0, static_cast<std::size_t>(end - text.begin()));
    text = without_blanks(text.substr(word.size()));
    return word;
}

// A number of at most 20 digits; past 64 bits it is the largest one.
std::optional<std::uint64_t> parse_number(std::string_view text) {
    if (text.empty() || text.size() > size_digits_max ||
        !std::all_of(text.begin(), text.end(), is_digit)) {
        return std::nullopt;
    }
    std::uint64_t value = 0;
    for (const char octet : text) {
        std::uint64_t next = 0;
        if (__builtin_mul_overflow(value, 10U, &next) ||
            __builtin_add_overflow(next, static_cast<std::uint64_t>(octet - '0'), &value)) {
            return std::numeric_limits<std::uint64_t>::max();
        }
    }
    return value;
}

struct Parameter {
    std::string_view keyword;
    std::optional<std::string_view> value; // none: no '=' either
};

std::expected<Parameter, Reply> parse_parameter(std::string_view word) {
    const std::size_t equals = word.find('=');
    const std::string_view keyword = word.substr(0, equals);
    if (keyword.empty() || keyword.front() == '-' ||
        !std::all_of(keyword.begin(), keyword.end(), is_keyword_octet)) {
        return std::unexpected(parameter_syntax);
    }
    if (equals == npos) {
        return Parameter{keyword, std::nullopt};
    }
    return Parameter{keyword, word.substr(equals + 1)};
}

// Which of MAIL's parameters were seen.
struct Seen {
    bool size = false;
    bool body = false;
    bool smtputf8 = false;
};

std::optional<Reply> take_size(const Parameter& parameter, Seen& seen, MailArguments& arguments) {
    if (std::exchange(seen.size, true)) {
        return parameter_repeated;
    }
    arguments.declared_size_bytes = parse_number(parameter.value.value_or(""));
    return arguments.declared_size_bytes ? std::nullopt : std::optional(bad_size);
}

std::optional<Reply> take_body(const Parameter& parameter, Seen& seen, MailArguments& arguments) {
    if (std::exchange(seen.body, true)) {
        return parameter_repeated;
    }
    const std::string_view value = parameter.value.value_or("");
    if (equals_ignoring_case(value, "8bitmime")) {
        arguments.body = BodyType::eight_bit_mime;
    } else if (equals_ignoring_case(value, "7bit")) {
        arguments.body = BodyType::seven_bit;
    } else {
        return bad_body; // BINARYMIME too: it is not offered
    }
    return std::nullopt;
}

std::optional<Reply> take_smtputf8(const Parameter& parameter, Seen& seen,
                                   MailArguments& arguments) {
    if (std::exchange(seen.smtputf8, true)) {
        return parameter_repeated;
    }
    arguments.smtputf8 = true;
    return parameter.value ? std::optional(bad_smtputf8) : std::nullopt;
}

// No value of RFC 3461's parameters stands for "unstated": what is set was seen.
std::optional<Reply> take_return(const Parameter& parameter, MailArguments& arguments) {
    if (arguments.return_content != ReturnContent::unstated) {
        return parameter_repeated;
    }
    const std::string_view value = parameter.value.value_or("");
    if (equals_ignoring_case(value, "full")) {
        arguments.return_content = ReturnContent::full;
    } else if (equals_ignoring_case(value, "hdrs")) {
        arguments.return_content = ReturnContent::headers;
    } else {
        return bad_return;
    }
    return std::nullopt;
}

std::optional<Reply> take_envelope_id(const Parameter& parameter, MailArguments& arguments) {
    if (!arguments.envelope_id.empty()) {
        return parameter_repeated;
    }
    arguments.envelope_id = parameter.value.value_or("");
    return is_envelope_id(arguments.envelope_id) ? std::nullopt : std::optional(bad_envelope_id);
}

std::optional<Reply> take_mail_parameter(std::string_view word, Extensions known, Seen& seen,
                                         MailArguments& arguments) {
    const auto parameter = parse_parameter(word);
    if (!parameter) {
        return parameter.error();
    }
    if (equals_ignoring_case(parameter->keyword, "size")) {
        return take_size(*parameter, seen, arguments);
    }
    if (equals_ignoring_case(parameter->keyword, "body")) {
        return take_body(*parameter, seen, arguments);
    }
    if (known.smtputf8 && equals_ignoring_case(parameter->keyword, "smtputf8")) {
        return take_smtputf8(*parameter, seen, arguments);
    }
    if (known.dsn && equals_ignoring_case(parameter->keyword, "ret")) {
        return take_return(*parameter, arguments);
    }
    if (known.dsn && equals_ignoring_case(parameter->keyword, "envid")) {
        return take_envelope_id(*parameter, arguments);
    }
    return parameter_unknown;
}

// The bit of one word of NOTIFY's list; 0: there is no such word.
std::uint8_t notify_bit(std::string_view word) {
    return equals_ignoring_case(word, "success")   ? notify_success
           : equals_ignoring_case(word, "failure") ? notify_failure
           : equals_ignoring_case(word, "delay")   ? notify_delay
                                                   : 0;
}

std::optional<Reply> take_notify(const Parameter& parameter, RecipientParameters& parameters) {
    if (parameters.notify != 0) {
        return parameter_repeated;
    }
    std::string_view list = parameter.value.value_or("");
    if (equals_ignoring_case(list, "never")) {
        parameters.notify = notify_never;
        return std::nullopt;
    }
    for (bool is_last = false; !is_last;) {
        const std::size_t comma = list.find(',');
        const std::uint8_t bit = notify_bit(list.substr(0, comma));
        if (bit == 0) {
            return bad_notify;
        }
        parameters.notify |= bit;
        is_last = comma == npos;
        list.remove_prefix(is_last ? 0 : comma + 1);
    }
    return std::nullopt;
}

std::optional<Reply> take_original_recipient(const Parameter& parameter, bool has_smtputf8,
                                             RecipientParameters& parameters) {
    if (!parameters.original_recipient.empty()) {
        return parameter_repeated;
    }
    parameters.original_recipient = parameter.value.value_or("");
    return is_original_recipient(parameters.original_recipient, has_smtputf8)
               ? std::nullopt
               : std::optional(bad_original_recipient);
}

std::optional<Reply> take_recipient_parameter(std::string_view word, Extensions known,
                                              RecipientParameters& parameters) {
    const auto parameter = parse_parameter(word);
    if (!parameter) {
        return parameter.error();
    }
    if (known.dsn && equals_ignoring_case(parameter->keyword, "notify")) {
        return take_notify(*parameter, parameters);
    }
    if (known.dsn && equals_ignoring_case(parameter->keyword, "orcpt")) {
        return take_original_recipient(*parameter, known.smtputf8, parameters);
    }
    return parameter_unknown;
}

struct PathAndParameters {
    Path path;
    std::string_view parameters;
};

// `keyword` is "from:" or "to:".
std::expected<PathAndParameters, Reply> split_path(std::string_view argument,
                                                   std::string_view keyword, PathKind kind) {
    const bool is_sender = kind == PathKind::reverse;
    const Reply& syntax = is_sender ? mail_syntax : recipient_syntax;
    if (!equals_ignoring_case(argument.substr(0, keyword.size()), keyword)) {
        return std::unexpected(syntax);
    }
    const std::string_view text = without_blanks(argument.substr(keyword.size()));
    if (text.empty()) {
        return std::unexpected(syntax);
    }
    const auto path = parse_path(text, kind);
    if (!path) {
        return std::unexpected(is_sender ? bad_sender : bad_recipient);
    }
    const std::string_view behind = text.substr(path->text_bytes);
    if (!behind.empty() && !is_blank(behind.front())) {
        return std::unexpected(syntax);
    }
    return PathAndParameters{*path, without_blanks(behind)};
}

std::optional<Reply> judge_octets(const Path& path, bool has_smtputf8, const Reply& bad_path) {
    if (!path.is_non_ascii) {
        return std::nullopt;
    }
    if (!has_smtputf8) {
        return non_ascii;
    }
    return is_utf8(path.mailbox) ? std::nullopt : std::optional(bad_path);
}

} // namespace

std::optional<Command> parse_command(std::string_view line) {
    if (!is_plain_ascii(line) && std::any_of(line.begin(), line.end(), is_control)) {
        return std::nullopt;
    }
    const auto end = std::find_if(line.begin(), line.end(), is_blank);
    const std::string_view word = line.substr(0, static_cast<std::size_t>(end - line.begin()));
    const std::string_view argument = without_blanks(line.substr(word.size()));
    if (word.size() != verb_letters) {
        return equals_ignoring_case(word, "starttls")
                   ? std::optional(Command{Verb::starttls, argument})
                   : std::nullopt;
    }
    const std::uint32_t number = number_of(word);
    for (const VerbName& candidate : verb_names) {
        if (candidate.number == number) {
            return Command{candidate.verb, argument};
        }
    }
    return std::nullopt;
}

std::expected<MailArguments, Reply> parse_mail(std::string_view argument, Extensions known) {
    const auto parts = split_path(argument, "from:", PathKind::reverse);
    if (!parts) {
        return std::unexpected(parts.error());
    }
    MailArguments arguments;
    arguments.reverse_path = parts->path.mailbox;
    Seen seen;
    for (std::string_view rest = parts->parameters; !rest.empty();) {
        if (const auto fault = take_mail_parameter(take_word(rest), known, seen, arguments)) {
            return std::unexpected(*fault);
        }
    }
    if (const auto fault = judge_octets(parts->path, arguments.smtputf8, bad_sender)) {
        return std::unexpected(*fault);
    }
    return arguments;
}

std::expected<RecipientArguments, Reply> parse_recipient(std::string_view argument,
                                                         Extensions known) {
    const auto parts = split_path(argument, "to:", PathKind::forward);
    if (!parts) {
        return std::unexpected(parts.error());
    }
    RecipientArguments arguments{parts->path.mailbox, parts->path.is_bare_postmaster, {}};
    for (std::string_view rest = parts->parameters; !rest.empty();) {
        if (const auto fault =
                take_recipient_parameter(take_word(rest), known, arguments.parameters)) {
            return std::unexpected(*fault);
        }
    }
    if (const auto fault = judge_octets(parts->path, known.smtputf8, bad_recipient)) {
        return std::unexpected(*fault);
    }
    return arguments;
}

std::optional<ChunkArguments> parse_chunk(std::string_view argument) {
    std::string_view rest = argument;
    const std::string_view digits = take_word(rest);
    const auto size_bytes = parse_number(digits);
    // The largest number stands for itself and for all past it: neither is a size that anyone
    // sends.
    if (!size_bytes || *size_bytes == std::numeric_limits<std::uint64_t>::max()) {
        return std::nullopt;
    }
    const bool is_last = equals_ignoring_case(rest, "last");
    return ChunkArguments{*size_bytes, is_last, !rest.empty() && !is_last};
}

} // namespace ringmx::smtp
