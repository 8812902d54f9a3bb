#include "smtp/command.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace ringmx::smtp {
namespace {

constexpr auto npos = std::string_view::npos;

struct VerbName {
    std::string_view name;
    Verb verb;
};

// The commands of a transaction first: they are looked up most.
constexpr std::array verb_names = {
    VerbName{"rcpt", Verb::rcpt}, VerbName{"mail", Verb::mail},
    VerbName{"data", Verb::data}, VerbName{"bdat", Verb::bdat},
    VerbName{"ehlo", Verb::ehlo}, VerbName{"quit", Verb::quit},
    VerbName{"rset", Verb::rset}, VerbName{"helo", Verb::helo},
    VerbName{"lhlo", Verb::lhlo}, VerbName{"noop", Verb::noop},
    VerbName{"vrfy", Verb::vrfy}, VerbName{"expn", Verb::expn},
    VerbName{"help", Verb::help}, VerbName{"starttls", Verb::starttls},
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

std::optional<Reply> take_mail_parameter(std::string_view word, bool offers_smtputf8, Seen& seen,
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
    if (offers_smtputf8 && equals_ignoring_case(parameter->keyword, "smtputf8")) {
        return take_smtputf8(*parameter, seen, arguments);
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
    if (std::any_of(line.begin(), line.end(), is_control)) {
        return std::nullopt;
    }
    const auto end = std::find_if(line.begin(), line.end(), is_blank);
    const std::string_view word = line.substr(0, static_cast<std::size_t>(end - line.begin()));
    for (const VerbName& candidate : verb_names) {
        if (equals_ignoring_case(word, candidate.name)) {
            return Command{candidate.verb, without_blanks(line.substr(word.size()))};
        }
    }
    return std::nullopt;
}

std::expected<MailArguments, Reply> parse_mail(std::string_view argument, bool offers_smtputf8) {
    const auto parts = split_path(argument, "from:", PathKind::reverse);
    if (!parts) {
        return std::unexpected(parts.error());
    }
    MailArguments arguments;
    arguments.reverse_path = parts->path.mailbox;
    Seen seen;
    for (std::string_view rest = parts->parameters; !rest.empty();) {
        if (const auto fault =
                take_mail_parameter(take_word(rest), offers_smtputf8, seen, arguments)) {
            return std::unexpected(*fault);
        }
    }
    if (const auto fault = judge_octets(parts->path, arguments.smtputf8, bad_sender)) {
        return std::unexpected(*fault);
    }
    return arguments;
}

std::expected<RecipientArguments, Reply> parse_recipient(std::string_view argument,
                                                         bool has_smtputf8) {
    const auto parts = split_path(argument, "to:", PathKind::forward);
    if (!parts) {
        return std::unexpected(parts.error());
    }
    if (!parts->parameters.empty()) {
        std::string_view rest = parts->parameters;
        const auto parameter = parse_parameter(take_word(rest));
        return std::unexpected(parameter ? parameter_unknown : parameter.error());
    }
    if (const auto fault = judge_octets(parts->path, has_smtputf8, bad_recipient)) {
        return std::unexpected(*fault);
    }
    return RecipientArguments{parts->path.mailbox, parts->path.is_bare_postmaster};
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
