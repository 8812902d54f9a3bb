#include "smtp/proxy_header.h"

#include "base/crc32c.h"
#include "smtp/proxy_wire.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace ringmx::smtp {
namespace {

using namespace proxy_wire;

struct Verdict {
    bool well_formed = false;
    bool has_addresses = false;
    SocketAddress source;
    SocketAddress destination;
};

Verdict malformed() { return {}; }
Verdict without_addresses() {
    Verdict verdict;
    verdict.well_formed = true;
    return verdict;
}

// ---- Version 1 ----

// Decimal as the specification writes it: no sign, no leading zero.
std::optional<unsigned> parse_decimal(std::string_view text, unsigned max) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0') ||
        !std::all_of(text.begin(), text.end(), is_digit)) {
        return std::nullopt;
    }
    unsigned value = 0;
    for (const char digit : text) {
        value = value * 10 + static_cast<unsigned>(digit - '0');
    }
    return value <= max ? std::optional(value) : std::nullopt;
}

// Cuts the text up to the separator off its front; nothing if there is no separator.
std::optional<std::string_view> cut(std::string_view& text, char separator) {
    const std::size_t at = text.find(separator);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view front = text.substr(0, at);
    text.remove_prefix(at + 1);
    return front;
}

std::optional<IpAddress> parse_v4(std::string_view text) {
    std::uint32_t address = 0;
    for (int position = 0; position < 4; ++position) {
        const auto part = position < 3 ? cut(text, '.') : std::optional(text);
        const auto octet = part ? parse_decimal(*part, 255) : std::nullopt;
        if (!octet) {
            return std::nullopt;
        }
        address = address << 8 | *octet;
    }
    return IpAddress::v4(address);
}

std::optional<IpAddress> parse_v6(std::string_view text) {
    // Section 2.1 has groups of hexadecimal digits only, not the form that ends in a dotted quad.
    if (text.find_first_not_of("0123456789abcdefABCDEF:") != std::string_view::npos ||
        text.find(':') == std::string_view::npos) {
        return std::nullopt;
    }
    return IpAddress::parse(text);
}

// The line without its CRLF.
Verdict parse_v1(std::string_view line) {
    line.remove_prefix(v1_prefix.size());
    if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) {
        return without_addresses(); // what follows is to be ignored
    }
    const auto family = cut(line, ' ');
    if (!family || (*family != "TCP4" && *family != "TCP6")) {
        return malformed();
    }
    const auto parse_address = *family == "TCP4" ? parse_v4 : parse_v6;
    const auto source_ip = cut(line, ' ');
    const auto destination_ip = cut(line, ' ');
    const auto source_port = cut(line, ' ');
    if (!source_ip || !destination_ip || !source_port) {
        return malformed();
    }
    const auto from = parse_address(*source_ip);
    const auto to = parse_address(*destination_ip);
    const auto from_port = parse_decimal(*source_port, 65535);
    const auto to_port = parse_decimal(line, 65535);
    if (!from || !to || !from_port || !to_port) {
        return malformed();
    }
    Verdict verdict = without_addresses();
    verdict.has_addresses = true;
    verdict.source.ip = *from;
    verdict.source.port = static_cast<std::uint16_t>(*from_port);
    verdict.destination.ip = *to;
    verdict.destination.port = static_cast<std::uint16_t>(*to_port);
    return verdict;
}

// What the octets gathered so far are; called for each of them.
ProxyResult judge_v1(std::string_view gathered) {
    const char octet = gathered.back();
    const std::size_t compared = std::min(gathered.size(), v1_prefix.size());
    if (gathered.substr(0, compared) != v1_prefix.substr(0, compared)) {
        return ProxyResult::malformed;
    }
    const bool behind_cr = gathered.size() > 1 && gathered[gathered.size() - 2] == '\r';
    if (behind_cr != (octet == '\n')) {
        return ProxyResult::malformed; // a bare CR or LF
    }
    if (octet == '\n') {
        return ProxyResult::done;
    }
    return gathered.size() < proxy_v1_bytes_max ? ProxyResult::need_more : ProxyResult::malformed;
}

// ---- Version 2 ----

std::uint8_t octet_at(std::string_view wire, std::size_t offset) {
    return static_cast<std::uint8_t>(wire[offset]);
}

std::uint16_t u16_at(std::string_view wire, std::size_t offset) {
    return static_cast<std::uint16_t>(octet_at(wire, offset) << 8 | octet_at(wire, offset + 1));
}

std::uint32_t u32_at(std::string_view wire, std::size_t offset) {
    return std::uint32_t{u16_at(wire, offset)} << 16 | u16_at(wire, offset + 2);
}

std::optional<std::size_t> address_bytes(std::uint8_t family) {
    switch (family) {
    case family_unspecified:
        return 0;
    case family_inet_stream:
        return inet_bytes;
    case family_inet6_stream:
        return inet6_bytes;
    case family_unix_stream:
        return unix_bytes;
    default:
        return std::nullopt; // datagrams, and pairs that section 2.2 tells to refuse
    }
}

bool checksum_is_right(std::string_view header, std::size_t value_offset) {
    const std::uint32_t stated = u32_at(header, value_offset);
    std::uint32_t crc = crc32c(0, as_bytes(header.substr(0, value_offset)));
    crc = crc32c(crc, as_bytes(std::string_view("\0\0\0\0", checksum_bytes)));
    return crc32c(crc, as_bytes(header.substr(value_offset + checksum_bytes))) == stated;
}

enum class Tlvs : std::uint8_t { good, unreadable, wrong_checksum };

Tlvs judge_tlvs(std::string_view header, std::size_t offset) {
    std::size_t checksum_offset = 0; // none: no TLV starts at 0
    while (offset < header.size()) {
        if (header.size() - offset < tlv_head_bytes) {
            return Tlvs::unreadable;
        }
        const std::uint8_t type = octet_at(header, offset);
        const std::size_t length = u16_at(header, offset + 1);
        offset += tlv_head_bytes;
        if (length > header.size() - offset) {
            return Tlvs::unreadable;
        }
        if (type == tlv_crc32c) {
            if (length != checksum_bytes || checksum_offset != 0) {
                return Tlvs::unreadable;
            }
            checksum_offset = offset;
        }
        offset += length;
    }
    const bool right = checksum_offset == 0 || checksum_is_right(header, checksum_offset);
    return right ? Tlvs::good : Tlvs::wrong_checksum;
}

SocketAddress inet_address(std::string_view header, std::size_t ip_offset,
                           std::size_t port_offset) {
    SocketAddress address;
    address.ip = IpAddress::v4(u32_at(header, ip_offset));
    address.port = u16_at(header, port_offset);
    return address;
}

SocketAddress inet6_address(std::string_view header, std::size_t ip_offset,
                            std::size_t port_offset) {
    SocketAddress address;
    std::memcpy(address.ip.octets.data(), header.data() + ip_offset, address.ip.octets.size());
    address.port = u16_at(header, port_offset);
    return address;
}

// The path ends at its first NUL; an abstract name starts with one and is as good as none here.
SocketAddress unix_address(std::string_view header, std::size_t offset) {
    const std::string_view field = header.substr(offset, unix_path_bytes);
    SocketAddress address;
    address.is_unix = true;
    address.path = field.substr(0, field.find('\0'));
    return address;
}

Verdict parse_v2(std::string_view header) {
    constexpr std::size_t at = v2_head_bytes;
    const bool is_local = (octet_at(header, command_offset) & 0x0F) == command_local;
    const std::uint8_t family = octet_at(header, family_offset);
    const auto addresses = address_bytes(family);
    const bool fits = addresses && *addresses <= header.size() - at;
    if (is_local || family == family_unspecified) {
        const bool is_wrong = fits && judge_tlvs(header, at + *addresses) == Tlvs::wrong_checksum;
        return is_wrong ? malformed() : without_addresses();
    }
    if (!fits || judge_tlvs(header, at + *addresses) != Tlvs::good) {
        return malformed();
    }
    Verdict verdict = without_addresses();
    verdict.has_addresses = true;
    if (family == family_inet_stream) {
        verdict.source = inet_address(header, at, at + 8);
        verdict.destination = inet_address(header, at + 4, at + 10);
    } else if (family == family_inet6_stream) {
        verdict.source = inet6_address(header, at, at + 32);
        verdict.destination = inet6_address(header, at + 16, at + 34);
    } else {
        verdict.source = unix_address(header, at);
        verdict.destination = unix_address(header, at + unix_path_bytes);
    }
    return verdict;
}

// The same for the head, octet by octet, and for the block behind it, which may have come in one
// piece.
ProxyResult judge_v2(std::string_view gathered) {
    const std::size_t compared = std::min(gathered.size(), v2_signature.size());
    if (gathered.substr(0, compared) != v2_signature.substr(0, compared)) {
        return ProxyResult::malformed;
    }
    if (gathered.size() > command_offset) {
        const std::uint8_t command = octet_at(gathered, command_offset);
        if (command != (version_2 | command_local) && command != (version_2 | command_proxy)) {
            return ProxyResult::malformed;
        }
    }
    if (gathered.size() < v2_head_bytes) {
        return ProxyResult::need_more;
    }
    const std::size_t block = u16_at(gathered, length_offset);
    if (block > proxy_v2_block_bytes_max) {
        return ProxyResult::malformed;
    }
    return gathered.size() < v2_head_bytes + block ? ProxyResult::need_more : ProxyResult::done;
}

} // namespace

ProxyHeader::Step ProxyHeader::receive(Bytes input) {
    Step step;
    while (step.consumed < input.size() && step.result == ProxyResult::need_more) {
        if (!gathered_) {
            gathered_ = std::make_unique<std::string>();
        }
        // One octet at a time until the block of version 2, of which as much is taken as it states.
        std::size_t take = 1;
        const bool is_v1 = !gathered_->empty() && gathered_->front() == v1_prefix.front();
        if (!is_v1 && gathered_->size() >= v2_head_bytes) {
            const std::size_t whole = v2_head_bytes + u16_at(*gathered_, length_offset);
            take = std::min(whole - gathered_->size(), input.size() - step.consumed);
        }
        gathered_->append(as_text(input.subspan(step.consumed, take)));
        step.consumed += take;
        step.result =
            gathered_->front() == v1_prefix.front() ? judge_v1(*gathered_) : judge_v2(*gathered_);
    }
    if (step.result == ProxyResult::done) {
        const bool is_v1 = gathered_->front() == v1_prefix.front();
        const std::string_view whole = *gathered_;
        Verdict verdict = is_v1 ? parse_v1(whole.substr(0, whole.size() - 2)) : parse_v2(whole);
        step.result = verdict.well_formed ? ProxyResult::done : ProxyResult::malformed;
        step.has_addresses = verdict.has_addresses;
        step.source = std::move(verdict.source);
        step.destination = std::move(verdict.destination);
    }
    if (step.result == ProxyResult::malformed) {
        step.consumed = input.size();
    }
    if (step.result != ProxyResult::need_more) {
        gathered_.reset();
    }
    return step;
}

} // namespace ringmx::smtp
