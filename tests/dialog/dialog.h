// Scripted SMTP dialogs: what a client sends, what it must hear, and how the session's owner
// answers.
//
//   === name          begins a dialog; a file has several
//   # text            a comment
//   @ KEY [WORDS]     a setting, or an answer of the owner (below); stands before the first C
//   C: text           the client sends a line; CRLF is added
//   C. text           the same, without CRLF
//   S: text           the client must receive this line; "*" at its end stands for any rest
//   M: text           a line of the message that was accepted before, CRLF added
//   M. text           the same, without CRLF
//   X                 the server must have closed
//
// C and M lines know the escapes \r \n \0 \t \\ \xHH, and \{x*N} for N times the octet x.
// A run of C lines is one flight: it is sent whole, then the S lines behind it are expected, all of
// them and no more.
//
//   @ hello                      the dialog starts behind an EHLO (LHLO), its reply unchecked
//   @ begin                      … and behind MAIL FROM:<from@example.com> and
//                                RCPT TO:<to@example.com>, both accepted
//   @ lmtp, @ normalize          these settings are on
//   @ no NAME                    chunking, smtputf8, dsn or pipelining is off
//   @ limit NAME N               size, recipients, errors, unknown or received
//   @ rcpt MAILBOX WHO REPLY     the answer to this recipient; WHO: own, backend, or unknown (own,
//                                and counts as an unknown recipient)
//   @ mail REPLY, @ data REPLY   the answer to every one
//   @ message REPLY              several: in turn, the last one stays
//                                REPLY: CODE E.N.H TEXT
//
// Everything but the answers of the owner holds for any server that keeps the contract, so that the
// same files can be run against a program; is_scripted says that a dialog needs such answers.
#pragma once

#include "smtp/reply.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ringmx::dialog {

struct RecipientAnswer {
    smtp::OwnedReply reply;
    bool is_own = true;
    bool is_unknown = false;
};

struct Flight {
    std::string client;                // octets to send
    std::vector<std::string> expected; // lines, without CRLF
    std::string content;               // of the message that this flight completes
    bool has_content = false;
    bool closes = false;
    int line_number = 0;
};

struct Dialog {
    std::string name; // "file: name"
    std::vector<Flight> flights;
    bool starts_behind_hello = false;
    bool starts_behind_recipient = false;
    bool is_scripted = false;

    bool lmtp = false;
    bool normalize = false;
    bool chunking = true;
    bool smtputf8 = true;
    bool dsn = true;
    bool pipelining = true;
    std::map<std::string, std::uint64_t> limits;
    std::map<std::string, RecipientAnswer> recipients;
    smtp::OwnedReply mail;
    smtp::OwnedReply data;
    std::vector<smtp::OwnedReply> messages;
};

// Every dialog of the *.dialog files in the folder, in the order of their names. A fault of a file
// ends the program with its place.
[[nodiscard]] std::vector<Dialog> read_dialogs(const std::string& folder);

[[nodiscard]] bool matches(const std::string& expected, const std::string& line);

} // namespace ringmx::dialog
