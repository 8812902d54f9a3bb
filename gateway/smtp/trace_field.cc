#include "smtp/trace_field.h"

#include "smtp/mailbox.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace ringmx::smtp {
namespace {

// A name that a client gave, and an id, are at most this long: no host name is longer (RFC
// 1035, 2.3.4).
constexpr std::size_t name_bytes_max = 255;
constexpr std::size_t id_bytes_max = 128;
static_assert(name_bytes_max + 64 < trace_line_bytes_max, "the from line fits");
static_assert(name_bytes_max + id_bytes_max + 64 < trace_line_bytes_max, "the by line fits");
static_assert(mailbox_bytes_max + 16 < trace_line_bytes_max, "the for line fits");

constexpr std::size_t date_bytes = 31;
constexpr std::size_t address_bytes_max = 45; // an IPv6 address that ends in an IPv4 one
// All of our own words, brackets and line ends are some 90.
constexpr std::size_t words_bytes_max = 128;
constexpr std::size_t field_bytes_max = 2 * name_bytes_max + address_bytes_max + id_bytes_max +
                                        mailbox_bytes_max + date_bytes + words_bytes_max;

// Each octet as it stands in a field, or '?'.
using Places = std::array<char, 256>;

consteval Places places_of(bool (*has_place)(unsigned char)) {
    Places places{};
    for (std::size_t value = 0; value < places.size(); ++value) {
        places[value] =
            has_place(static_cast<unsigned char>(value)) ? static_cast<char>(value) : '?';
    }
    return places;
}

// What domains and IP literals are made of; a general literal's parentheses and semicolons stay
// out.
constexpr Places in_name = places_of([](unsigned char octet) {
    return (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
           (octet >= '0' && octet <= '9') ||
           std::string_view("-._:[]").find(static_cast<char>(octet)) != std::string_view::npos;
});
constexpr Places in_ascii_path =
    places_of([](unsigned char octet) { return octet >= 0x20 && octet < 0x7f; });
constexpr Places in_path =
    places_of([](unsigned char octet) { return octet >= 0x20 && octet != 0x7f; });

// Each gives the end of what it put.

// Not by std::ranges::copy, which libstdc++ 12 does octet by octet.
char* put(char* at, std::string_view text) { return std::copy(text.begin(), text.end(), at); }

char* put_placed(char* at, std::string_view text, const Places& places) {
    for (const char octet : text) {
        *at++ = places[static_cast<unsigned char>(octet)];
    }
    return at;
}

char* put_name(char* at, std::string_view name) {
    return put_placed(at, name.substr(0, name_bytes_max), in_name);
}

char* put_recipient(char* at, std::string_view recipient, bool smtputf8) {
    return put_placed(at, recipient, smtputf8 && is_utf8(recipient) ? in_path : in_ascii_path);
}

char* put_client(char* at, const std::optional<IpAddress>& ip) {
    if (!ip) {
        return at;
    }
    at = put(at, ip->is_v4() ? " ([" : " ([IPv6:");
    at = put(at, ip->text());
    return put(at, "])");
}

char* put_two_digits(char* at, unsigned number) {
    *at++ = static_cast<char>('0' + number / 10 % 10);
    *at++ = static_cast<char>('0' + number % 10);
    return at;
}

// "Thu, 01 Jan 1970 00:00:00 +0000"
char* put_date(char* at, WallTime time) {
    static constexpr std::array<std::string_view, 7> day_names = {
        "Sun, ", "Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, "};
    static constexpr std::array<std::string_view, 12> month_names = {
        " Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
        " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
    using std::chrono::floor;
    const auto since_epoch = time.time_since_epoch();
    const auto day_count = floor<std::chrono::days>(since_epoch);
    const std::chrono::sys_days day{day_count};
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss clock{floor<std::chrono::seconds>(since_epoch - day_count)};

    at = put(at, day_names[std::chrono::weekday{day}.c_encoding()]);
    at = put_two_digits(at, unsigned{date.day()});
    at = put(at, month_names[unsigned{date.month()} - 1]);
    // WallTime's 64 bits of nanoseconds reach from 1677 to 2262: always four digits.
    const auto year = static_cast<unsigned>(int{date.year()});
    at = put_two_digits(at, year / 100);
    at = put_two_digits(at, year % 100);
    *at++ = ' ';
    at = put_two_digits(at, static_cast<unsigned>(clock.hours().count()));
    *at++ = ':';
    at = put_two_digits(at, static_cast<unsigned>(clock.minutes().count()));
    *at++ = ':';
    at = put_two_digits(at, static_cast<unsigned>(clock.seconds().count()));
    return put(at, " +0000");
}

} // namespace

void append_trace_field(std::string& out, const TraceSource& source) {
    std::array<char, field_bytes_max> built; // NOLINT: what is used of it is set
    char* at = put(built.data(), "Received: from ");
    at = put_name(at, source.hello_name.empty() ? "unknown" : source.hello_name);
    at = put_client(at, source.client_ip);
    at = put(at, "\r\n\tby ");
    at = put_name(at, source.hostname);
    at = put(at, " (ringmx) with ");
    at = put(at, transmission_type(source));
    at = put(at, " id ");
    at = put_name(at, source.id.substr(0, id_bytes_max));
    if (!source.recipient.empty() && source.recipient.size() <= mailbox_bytes_max) {
        at = put(at, "\r\n\tfor <");
        at = put_recipient(at, source.recipient, source.smtputf8);
        *at++ = '>';
    }
    at = put(at, "; ");
    at = put_date(at, source.received_at);
    at = put(at, source.content_starts_with_space ? "\r\n\r\n" : "\r\n");
    out.append(built.data(), at);
}

std::string_view transmission_type(const TraceSource& source) {
    // Index: bit 0 TLS, bit 1 authentication.
    static constexpr std::array<std::string_view, 4> esmtp = {"ESMTP", "ESMTPS", "ESMTPA",
                                                              "ESMTPSA"};
    static constexpr std::array<std::string_view, 4> lmtp = {"LMTP", "LMTPS", "LMTPA", "LMTPSA"};
    static constexpr std::array<std::string_view, 4> utf8_smtp = {"UTF8SMTP", "UTF8SMTPS",
                                                                  "UTF8SMTPA", "UTF8SMTPSA"};
    static constexpr std::array<std::string_view, 4> utf8_lmtp = {"UTF8LMTP", "UTF8LMTPS",
                                                                  "UTF8LMTPA", "UTF8LMTPSA"};
    const std::size_t index = (source.tls ? 1U : 0U) | (source.authenticated ? 2U : 0U);
    if (source.lmtp) {
        return source.smtputf8 ? utf8_lmtp[index] : lmtp[index];
    }
    if (source.smtputf8) {
        return utf8_smtp[index];
    }
    // RFC 3848 names no plain SMTP with TLS: it can only be that HELO came after the handshake.
    return source.esmtp ? esmtp[index] : std::string_view("SMTP");
}

void append_date(std::string& out, WallTime time) {
    std::array<char, date_bytes> built; // NOLINT: all of it is set
    out.append(built.data(), put_date(built.data(), time));
}

} // namespace ringmx::smtp
