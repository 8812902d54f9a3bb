#include "dialog/dialog.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ringmx::dialog {
namespace {

struct Place {
    std::string file;
    int line_number = 0;
};

[[noreturn]] void fault(const Place& place, const std::string& what) {
    std::fprintf(stderr, "%s:%d: %s\n", place.file.c_str(), place.line_number, what.c_str());
    std::exit(2);
}

std::string unescape(const std::string& text, const Place& place) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '\\') {
            out += text[at];
            continue;
        }
        const char kind = ++at < text.size() ? text[at] : ' ';
        if (kind == 'x') {
            out += static_cast<char>(std::stoi(text.substr(at + 1, 2), nullptr, 16));
            at += 2;
        } else if (kind == '{') {
            const std::size_t end = text.find('}', at);
            const char octet = text[at + 1];
            if (end == std::string::npos || text[at + 2] != '*') {
                fault(place, "expected \\{x*N}");
            }
            out.append(std::stoul(text.substr(at + 3, end - at - 3)), octet);
            at = end;
        } else if (const std::size_t index = std::string("rn0t\\").find(kind);
                   index != std::string::npos) {
            out += "\r\n\0\t\\"[index];
        } else {
            fault(place, "unknown escape");
        }
    }
    return out;
}

smtp::OwnedReply read_reply(std::istringstream& words, const Place& place) {
    smtp::OwnedReply reply;
    unsigned code = 0;
    unsigned parts[3] = {};
    char dot = '.';
    words >> code >> parts[0] >> dot >> parts[1] >> dot >> parts[2];
    if (!words) {
        fault(place, "expected CODE E.N.H TEXT");
    }
    reply.code = static_cast<std::uint16_t>(code);
    reply.enhanced = {static_cast<std::uint8_t>(parts[0]), static_cast<std::uint16_t>(parts[1]),
                      static_cast<std::uint16_t>(parts[2])};
    std::getline(words >> std::ws, reply.text);
    return reply;
}

bool read_switch(Dialog& dialog, const std::string& key, std::istringstream& words) {
    if (key == "hello") {
        dialog.starts_behind_hello = true;
    } else if (key == "begin") {
        dialog.starts_behind_hello = dialog.starts_behind_recipient = true;
    } else if (key == "lmtp") {
        dialog.lmtp = true;
    } else if (key == "normalize") {
        dialog.normalize = true;
    } else if (key == "no") {
        std::string name;
        words >> name;
        (name == "chunking"   ? dialog.chunking
         : name == "smtputf8" ? dialog.smtputf8
         : name == "dsn"      ? dialog.dsn
                              : dialog.pipelining) = false;
    } else if (key == "limit") {
        std::string name;
        words >> name;
        words >> dialog.limits[name];
    } else {
        return false;
    }
    return true;
}

void read_directive(Dialog& dialog, const std::string& text, const Place& place) {
    std::istringstream words(text);
    std::string key;
    words >> key;
    if (read_switch(dialog, key, words)) {
        return;
    }
    dialog.is_scripted = true;
    if (key == "mail") {
        dialog.mail = read_reply(words, place);
    } else if (key == "data") {
        dialog.data = read_reply(words, place);
    } else if (key == "message") {
        dialog.messages.push_back(read_reply(words, place));
    } else if (key == "rcpt") {
        std::string mailbox;
        std::string source;
        words >> mailbox >> source;
        dialog.recipients[mailbox] = {read_reply(words, place), source != "backend",
                                      source == "unknown"};
    } else {
        fault(place, "unknown key " + key);
    }
}

Flight& last_flight(Dialog& dialog, const Place& place) {
    if (dialog.flights.empty()) {
        fault(place, "nothing was sent before this line");
    }
    return dialog.flights.back();
}

void read_line(Dialog& dialog, const std::string& line, const Place& place) {
    const std::string kind = line.substr(0, 2);
    const std::string text = line.size() > 3 ? line.substr(3) : "";
    if (kind == "C:" || kind == "C.") {
        if (dialog.flights.empty() || !dialog.flights.back().expected.empty() ||
            dialog.flights.back().has_content) {
            dialog.flights.emplace_back().line_number = place.line_number;
        }
        dialog.flights.back().client += unescape(text, place) + (kind == "C:" ? "\r\n" : "");
    } else if (kind == "S:") {
        last_flight(dialog, place).expected.push_back(text);
    } else if (kind == "M:" || kind == "M.") {
        Flight& flight = last_flight(dialog, place);
        flight.content += unescape(text, place) + (kind == "M:" ? "\r\n" : "");
        flight.has_content = true;
    } else if (line == "X") {
        last_flight(dialog, place).closes = true;
    } else {
        fault(place, "expected C:, C., S:, M:, M., X, @ or #");
    }
}

void read_file(const std::filesystem::path& path, std::vector<Dialog>& dialogs) {
    std::ifstream file(path);
    Place place{path.string(), 0};
    for (std::string line; std::getline(file, line);) {
        ++place.line_number;
        if (line.empty() || line.starts_with("#")) {
            continue;
        }
        if (line.starts_with("=== ")) {
            Dialog dialog;
            dialog.name = path.stem().string() + ": " + line.substr(4);
            dialog.mail = smtp::OwnedReply({250, {2, 1, 0}, "Ok"});
            dialog.data = smtp::OwnedReply({354, {}, ""});
            dialogs.push_back(std::move(dialog));
        } else if (dialogs.empty()) {
            fault(place, "expected === NAME first");
        } else if (line.starts_with("@ ")) {
            read_directive(dialogs.back(), line.substr(2), place);
        } else {
            read_line(dialogs.back(), line, place);
        }
    }
}

} // namespace

std::vector<Dialog> read_dialogs(const std::string& folder) {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".dialog") {
            paths.push_back(entry.path());
        }
    }
    std::sort(paths.begin(), paths.end());
    std::vector<Dialog> dialogs;
    for (const auto& path : paths) {
        read_file(path, dialogs);
    }
    return dialogs;
}

bool matches(const std::string& expected, const std::string& line) {
    if (expected.ends_with('*')) {
        return line.starts_with(expected.substr(0, expected.size() - 1));
    }
    return line == expected;
}

} // namespace ringmx::dialog
