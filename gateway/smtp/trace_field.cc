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

// Beside names: dates, our own words, and the addresses' brackets.
constexpr std::size_t other_bytes_max = 192;

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

void append_placed(std::string& out, std::string_view text, const Places& places) {
    const std::size_t start = out.size();
    out += text;
    for (char* octet = out.data() + start; octet != out.data() + out.size(); ++octet) {
        *octet = places[static_cast<unsigned char>(*octet)];
    }
}

void append_name(std::string& out, std::string_view name) {
    append_placed(out, name.substr(0, name_bytes_max), in_name);
}

void append_recipient(std::string& out, std::string_view recipient, bool smtputf8) {
    append_placed(out, recipient, smtputf8 && is_utf8(recipient) ? in_path : in_ascii_path);
}

// "Thu, 01 Jan 1970 00:00:00 +0000"
using DateText = std::array<char, 31>;

void put(DateText& text, std::size_t at, std::string_view part) {
    std::ranges::copy(part, text.begin() + static_cast<std::ptrdiff_t>(at));
}

void put_two_digits(DateText& text, std::size_t at, unsigned number) {
    text[at] = static_cast<char>('0' + number / 10 % 10);
    text[at + 1] = static_cast<char>('0' + number % 10);
}

void append_client(std::string& out, const std::optional<IpAddress>& ip) {
    if (!ip) {
        return;
    }
    out += ip->is_v4() ? " ([" : " ([IPv6:";
    out += ip->text();
    out += "])";
}

} // namespace

void append_trace_field(std::string& out, const TraceSource& source) {
    out.reserve(out.size() + source.hello_name.size() + source.hostname.size() +
                source.recipient.size() + other_bytes_max);
    out += "Received: from ";
    append_name(out, source.hello_name.empty() ? "unknown" : source.hello_name);
    append_client(out, source.client_ip);
    out += "\r\n\tby ";
    append_name(out, source.hostname);
    out += " (ringmx) with ";
    out += transmission_type(source);
    out += " id ";
    append_name(out, source.id.substr(0, id_bytes_max));
    if (!source.recipient.empty() && source.recipient.size() <= mailbox_bytes_max) {
        out += "\r\n\tfor <";
        append_recipient(out, source.recipient, source.smtputf8);
        out += '>';
    }
    out += "; ";
    append_date(out, source.received_at);
    out += source.content_starts_with_space ? "\r\n\r\n" : "\r\n";
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
    static constexpr std::array<std::string_view, 7> day_names = {"Sun", "Mon", "Tue", "Wed",
                                                                  "Thu", "Fri", "Sat"};
    static constexpr std::array<std::string_view, 12> month_names = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    using std::chrono::floor;
    const auto since_epoch = time.time_since_epoch();
    const auto day_count = floor<std::chrono::days>(since_epoch);
    const std::chrono::sys_days day{day_count};
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss clock{floor<std::chrono::seconds>(since_epoch - day_count)};

    DateText text;
    put(text, 0, "Thu, 01 Jan 1970 00:00:00 +0000");
    put(text, 0, day_names[std::chrono::weekday{day}.c_encoding()]);
    put_two_digits(text, 5, unsigned{date.day()});
    put(text, 8, month_names[unsigned{date.month()} - 1]);
    // WallTime's 64 bits of nanoseconds reach from 1677 to 2262: always four digits.
    const auto year = static_cast<unsigned>(int{date.year()});
    put_two_digits(text, 12, year / 100);
    put_two_digits(text, 14, year % 100);
    put_two_digits(text, 17, static_cast<unsigned>(clock.hours().count()));
    put_two_digits(text, 20, static_cast<unsigned>(clock.minutes().count()));
    put_two_digits(text, 23, static_cast<unsigned>(clock.seconds().count()));
    out.append(text.data(), text.size());
}

} // namespace ringmx::smtp
