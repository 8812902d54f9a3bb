// One SMTP command line, parsed in place: verb, argument, and the arguments of MAIL, RCPT and BDAT.
//
// In:   a line without its CRLF, at most command_line_bytes_max octets with it.
// Out:  views into the line, or the reply that refuses it. Which command may come when is not
//       judged here (ServerSession does).
//
// Verbs and keywords ignore case; TAB counts as a blank; blanks at the end of a line are dropped.
// Tolerated as Postfix does: blanks between "MAIL FROM:" or "RCPT TO:" and the path.
//
// Bounds: none but the line's.
// Cost:   one pass, no allocation.
// Thread: any.
// Errors: std::unexpected<Reply>, the reply to give; its text is static.
// Source: RFC 5321, 4.1.1; RFC 1870, 6; RFC 3030, 2; RFC 3461, 4; RFC 6152; RFC 6531, 3.4.
#pragma once

#include "smtp/envelope.h"
#include "smtp/mailbox.h"
#include "smtp/reply.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

namespace ringmx::smtp {

// RFC 5321, 4.5.3.1.4 asks for 512; what extensions add, and long UTF-8 addresses, fit beside it.
// With the CRLF.
inline constexpr std::size_t command_line_bytes_max = 2048;

enum class Verb : std::uint8_t {
    ehlo,
    helo,
    lhlo,
    mail,
    rcpt,
    data,
    bdat,
    rset,
    noop,
    quit,
    vrfy,
    expn,
    help,
    starttls,
};

struct Command {
    Verb verb;
    std::string_view argument; // without blanks around it
};

// Nothing: an unknown verb, or a line with controls (a bare CR or LF, NUL, …).
[[nodiscard]] std::optional<Command> parse_command(std::string_view line);

// Whose parameters are known: of MAIL what the session offers, of RCPT what it offers and MAIL asked
// for.
struct Extensions {
    bool smtputf8 = false;
    bool dsn = false;
};

struct MailArguments {
    std::string_view reverse_path;
    std::optional<std::uint64_t> declared_size_bytes; // a number past 64 bits is the largest one
    BodyType body = BodyType::unstated;
    bool smtputf8 = false;
    ReturnContent return_content = ReturnContent::unstated;
    std::string_view envelope_id;
};

struct RecipientArguments {
    std::string_view mailbox;
    bool is_bare_postmaster = false;
    RecipientParameters parameters;
};

struct ChunkArguments {
    std::uint64_t size_bytes = 0;
    bool is_last = false;
    bool has_bad_keyword = false; // something other than LAST stands behind the size
};

[[nodiscard]] std::expected<MailArguments, Reply> parse_mail(std::string_view argument,
                                                             Extensions known);
[[nodiscard]] std::expected<RecipientArguments, Reply> parse_recipient(std::string_view argument,
                                                                       Extensions known);
// Nothing: the size is missing, no number, or past 64 bits, so that nobody can say where the chunk
// ends.
[[nodiscard]] std::optional<ChunkArguments> parse_chunk(std::string_view argument);

} // namespace ringmx::smtp
