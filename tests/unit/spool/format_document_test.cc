// The example in docs/spool-format.md is what the code writes.
#include "base/crc32c.h"
#include "spool/format.h"
#include "spool/stored_message.h"

#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>

namespace ringmx::spool {
namespace {

Nonce example_nonce() {
    Nonce nonce;
    for (std::size_t index = 0; index < nonce.size(); ++index) {
        nonce[index] = static_cast<std::byte>(0xA0 + index);
    }
    return nonce;
}

// Sixteen octets a line, as the document shows them; lines of zeros are left out.
std::string dump(Bytes octets, std::uint64_t offset) {
    std::string text;
    for (std::size_t start = 0; start < octets.size(); start += 16) {
        const Bytes line = octets.subspan(start, std::min<std::size_t>(16, octets.size() - start));
        std::string hex;
        std::string letters;
        bool is_zero = true;
        for (const std::byte octet : line) {
            const auto value = static_cast<unsigned char>(octet);
            is_zero = is_zero && value == 0;
            hex += fmt::format("{:02x} ", value);
            letters += value >= 0x20 && value < 0x7F ? static_cast<char>(value) : '.';
        }
        if (!is_zero) {
            text += fmt::format("{:06x}  {:<48} {}\n", offset + start, hex, letters);
        }
    }
    return text;
}

std::string example() {
    std::array<std::byte, block_bytes> header{};
    encode_segment_header({.nonce = example_nonce(),
                           .generation = 7,
                           .worker = 1,
                           .life = 3,
                           .size_bytes = 4U << 20U},
                          header);
    StoredMessage message;
    message.accepted_at = WallTime(Duration(1'795'824'000'000'000'000));
    message.expires_from = message.accepted_at;
    message.content_bytes = 16;
    message.message_bytes = 16;
    message.is_stuffed = true;
    message.body = StoredBody::eight_bit_mime;
    message.reverse_path = "a@b.example";
    message.trace_field = "Received: from c\r\n";
    message.is_esmtp = true;
    message.client_ip = IpAddress::v4(0xC000'0207);
    message.client_port = 40'001;
    message.hello_name = "c";
    message.recipients = {{"user@one.example", RecipientState::pending}};
    std::string body;
    append_message_body(body, message);
    body += "Subject: x\r\n\r\n\r\n";
    std::vector<std::byte> record(record_header_bytes + body.size());
    std::ranges::copy(as_bytes(body), record.begin() + record_header_bytes);
    encode_record_header(
        {.type = RecordType::message,
         .record_bytes = static_cast<std::uint32_t>(record.size()),
         .nonce = example_nonce(),
         .offset = block_bytes,
         .sequence = 42,
         .id = 0x0000'0700'4000'0005,
         .in_doubt = 1},
        crc32c(0, as_bytes(body)),
        std::span<std::byte, record_header_bytes>(record.data(), record_header_bytes));
    return dump(header, 0) + dump(record, block_bytes);
}

TEST(SpoolFormatDocument, ShowsWhatTheCodeWrites) {
    std::ifstream file(RINGMX_SPOOL_FORMAT_DOCUMENT);
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_NE(text.str().find(example()), std::string::npos) << example();
}

} // namespace
} // namespace ringmx::spool
