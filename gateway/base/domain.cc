#include "base/domain.h"

#include "base/address.h"
#include "base/ascii.h"

#include <idn2.h>

#include <algorithm>
#include <array>

namespace ringmx {

namespace {

constexpr char lowered(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

void append_lowered(std::string_view text, std::string& out) {
    const std::size_t before = out.size();
    out += text;
    std::transform(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(),
                   out.begin() + static_cast<std::ptrdiff_t>(before), lowered);
}

constexpr bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// RFC 5321 atext, with RFC 6531's UTF-8 octets.
constexpr bool is_atext(char c) {
    constexpr std::string_view others = "!#$%&'*+-/=?^_`{|}~";
    return is_letter_or_digit(c) || others.find(c) != std::string_view::npos ||
           static_cast<unsigned char>(c) >= 0x80;
}

// Letters, digits, hyphens inside, and underscores, which names in use do have (RFC 5321 wants
// none; refusing is not ours).
bool is_ascii_label(std::string_view label) {
    if (label.empty() || label.size() > domain_label_bytes_max || label.front() == '-' ||
        label.back() == '-') {
        return false;
    }
    return std::all_of(label.begin(), label.end(),
                       [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; });
}

bool is_ascii_domain(std::string_view text) {
    if (text.empty() || text.size() > domain_bytes_max) {
        return false;
    }
    while (true) {
        const std::size_t dot = text.find('.');
        if (!is_ascii_label(text.substr(0, dot))) {
            return false;
        }
        if (dot == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(dot + 1);
    }
}

bool append_ascii_domain(std::string_view text, std::string& out) {
    if (!is_ascii_domain(text)) {
        return false;
    }
    append_lowered(text, out);
    return true;
}

// UTS 46 mapping first (it lowers case and normalises), then IDNA2008, without the transitional "ß"
// to "ss".
bool append_idn_domain(std::string_view text, std::string& out) {
    // U-labels are at most three times as long as their A-labels in practice; the bound only keeps
    // libidn2's work small.
    if (text.size() > 4 * domain_bytes_max || text.find('\0') != std::string_view::npos) {
        return false;
    }
    const std::string terminated(text);
    std::uint8_t* found = nullptr;
    const int status = idn2_lookup_u8(reinterpret_cast<const std::uint8_t*>(terminated.c_str()),
                                      &found, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    const bool usable =
        status == IDN2_OK && append_ascii_domain(reinterpret_cast<const char*>(found), out);
    idn2_free(found);
    return usable;
}

// RFC 5321 4.1.3; a General-address-literal is only lowered.
bool append_address_literal(std::string_view text, std::string& out) {
    if (text.size() < 3 || text.back() != ']' || text.size() > domain_bytes_max) {
        return false;
    }
    std::string_view inner = text.substr(1, text.size() - 2);
    constexpr std::string_view v6_tag = "ipv6:";
    const bool is_tagged =
        inner.size() > v6_tag.size() &&
        std::equal(v6_tag.begin(), v6_tag.end(), inner.begin(),
                   [](char expected, char given) { return expected == lowered(given); });
    if (is_tagged) {
        inner.remove_prefix(v6_tag.size());
    }
    const bool has_colon = inner.find(':') != std::string_view::npos;
    const auto ip = IpAddress::parse(inner);
    if (ip && is_tagged == has_colon) {
        // A mapped address keeps its tag, so that the key of a key is itself.
        out += is_tagged ? "[ipv6:" : "[";
        out += is_tagged && ip->is_v4() ? "::ffff:" : "";
        out += ip->text();
        out += "]";
        return true;
    }
    const std::size_t colon = inner.find(':');
    const bool is_general = !ip && !is_tagged && colon != std::string_view::npos && colon > 0 &&
                            is_ascii_label(inner.substr(0, colon)) && colon + 1 < inner.size() &&
                            std::all_of(inner.begin(), inner.end(), [](char c) {
                                return c >= 33 && c <= 126 && (c < '[' || c > ']');
                            });
    if (!is_general) {
        return false;
    }
    append_lowered(text, out);
    return true;
}

bool append_domain(std::string_view text, std::string& out) {
    if (text.starts_with('[')) {
        return append_address_literal(text, out);
    }
    return is_ascii(text) ? append_ascii_domain(text, out) : append_idn_domain(text, out);
}

bool is_dot_string(std::string_view text) {
    if (text.empty() || text.front() == '.' || text.back() == '.' ||
        text.find("..") != std::string_view::npos) {
        return false;
    }
    return std::all_of(text.begin(), text.end(), [](char c) { return c == '.' || is_atext(c); });
}

// The content of a quoted string goes into `out`; bare where a dot-string can say it, else quoted
// with only the needed pairs.
bool append_quoted_local(std::string_view text, std::string& out) {
    if (text.size() < 2 || text.back() != '"') {
        return false;
    }
    const std::string_view inner = text.substr(1, text.size() - 2);
    const std::size_t start = out.size();
    for (std::size_t index = 0; index < inner.size(); ++index) {
        const char c = inner[index];
        if (c == '"' || (static_cast<unsigned char>(c) < 32) || c == 127) {
            return false;
        }
        if (c != '\\') {
            out.push_back(lowered(c));
            continue;
        }
        ++index;
        if (index == inner.size() || inner[index] < 32 || inner[index] > 126) {
            return false;
        }
        out.push_back(lowered(inner[index]));
    }
    if (is_dot_string(std::string_view(out).substr(start))) {
        return true;
    }
    for (std::size_t index = start; index < out.size(); ++index) {
        if (out[index] == '"' || out[index] == '\\') {
            out.insert(index, 1, '\\');
            ++index;
        }
    }
    out.insert(start, 1, '"');
    out.push_back('"');
    return true;
}

bool append_mailbox(std::string_view text, std::string& out) {
    const std::size_t at = text.rfind('@');
    if (at == std::string_view::npos || text.size() > mailbox_text_bytes_max) {
        return false;
    }
    const std::string_view local = text.substr(0, at);
    if (local.starts_with('"')) {
        if (!append_quoted_local(local, out)) {
            return false;
        }
    } else {
        if (!is_dot_string(local)) {
            return false;
        }
        append_lowered(local, out);
    }
    out.push_back('@');
    return append_domain(text.substr(at + 1), out);
}

} // namespace

bool canonical_domain(std::string_view text, std::string& out) {
    out.clear();
    if (append_domain(text, out)) {
        return true;
    }
    out.clear();
    return false;
}

bool canonical_mailbox(std::string_view text, std::string& out) {
    out.clear();
    if (append_mailbox(text, out)) {
        return true;
    }
    out.clear();
    return false;
}

std::optional<std::string> canonical_domain(std::string_view text) {
    std::string out;
    return canonical_domain(text, out) ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::string> canonical_mailbox(std::string_view text) {
    std::string out;
    return canonical_mailbox(text, out) ? std::optional(std::move(out)) : std::nullopt;
}

} // namespace ringmx
