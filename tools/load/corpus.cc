#include "load/corpus.h"

#include "base/ascii.h"
#include "base/bytes.h"
#include "smtp/dot_stuffing.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <system_error>
#include <unistd.h>

namespace ringmx::load {
namespace {

constexpr std::size_t read_bytes = 256 * 1024;
constexpr std::string_view own_field = "message-id";
constexpr std::string_view renamed_field = "X-Original-Message-ID";

constexpr bool is_blank(char octet) { return octet == ' ' || octet == '\t'; }

// Takes the first line off `text` and returns it without its end. CRs right before an LF belong
// to one line end: they come from files that were converted twice.
std::string_view take_line(std::string_view& text) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    std::size_t next = end;
    if (end < text.size()) {
        const std::size_t behind_cr = text.find_first_not_of('\r', end);
        const bool has_lf = behind_cr != std::string_view::npos && text[behind_cr] == '\n';
        next = has_lf ? behind_cr + 1 : end + 1;
    }
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(next);
    return line;
}

// What stands behind the name of a Message-ID field; nothing: this line is no such field.
std::string_view behind_own_field(std::string_view line) {
    if (line.size() <= own_field.size() ||
        !equal_ignoring_case(line.substr(0, own_field.size()), own_field)) {
        return {};
    }
    const std::string_view rest = line.substr(own_field.size());
    const auto* colon = std::ranges::find_if_not(rest, is_blank);
    return colon != rest.end() && *colon == ':' ? rest : std::string_view{};
}

std::string with_wire_lines(std::string_view file) {
    std::string mail;
    mail.reserve(file.size() + file.size() / 32 + renamed_field.size());
    if (!file.empty() && is_blank(file.front())) {
        mail += "\r\n";
    }
    bool in_header = mail.empty();
    while (!file.empty()) {
        std::string_view line = take_line(file);
        in_header = in_header && !line.empty();
        if (in_header) {
            if (const std::string_view rest = behind_own_field(line); !rest.empty()) {
                mail += renamed_field;
                line = rest;
            }
        }
        mail += line;
        mail += "\r\n";
    }
    return mail;
}

// errno, or 0.
int read_file(const std::string& path, std::string& content) {
    content.clear();
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return errno;
    }
    int error = 0;
    for (;;) {
        const std::size_t before = content.size();
        content.resize(before + read_bytes);
        const ssize_t bytes = ::read(descriptor, content.data() + before, read_bytes);
        error = bytes < 0 ? errno : 0;
        content.resize(before + static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
        if (bytes == 0 || (bytes < 0 && error != EINTR)) {
            break;
        }
    }
    ::close(descriptor);
    return error;
}

Expected<std::vector<std::string>> files_of(const std::string& folder) {
    std::vector<std::string> paths;
    std::error_code error;
    std::filesystem::directory_iterator entry(folder, error);
    for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
        std::error_code status_error;
        const std::filesystem::file_status status = entry->status(status_error);
        if (!std::filesystem::status_known(status) ||
            status.type() == std::filesystem::file_type::not_found) {
            const int code = status_error ? status_error.value() : ENOENT; // a link to nowhere
            return std::unexpected(Error{"open", code, entry->path().string()});
        }
        if (std::filesystem::is_regular_file(status)) {
            paths.push_back(entry->path().string());
        }
    }
    if (error) {
        return std::unexpected(Error{"read the corpus of", error.value(), folder});
    }
    if (paths.empty()) {
        return std::unexpected(Error{"find a file in the corpus", 0, folder});
    }
    std::ranges::sort(paths);
    return paths;
}

} // namespace

CorpusMail::CorpusMail(std::string_view file) : raw_(with_wire_lines(file)) {
    smtp::LineTail tail;
    std::size_t dots = 0;
    smtp::for_each_line_dot(tail, as_bytes(raw_), [&](std::size_t) { ++dots; });
    if (dots == 0) {
        return;
    }
    stuffed_.reserve(raw_.size() + dots);
    smtp::Stuffer stuffer;
    stuffer.feed(as_bytes(raw_), [&](Bytes part, bool) { stuffed_ += as_text(part); });
}

Expected<std::vector<CorpusMail>> read_corpus(const std::string& folder) {
    const Expected<std::vector<std::string>> paths = files_of(folder);
    if (!paths) {
        return std::unexpected(paths.error());
    }
    std::vector<CorpusMail> mails;
    mails.reserve(paths->size());
    std::string content;
    for (const std::string& path : *paths) {
        if (const int error = read_file(path, content); error != 0) {
            return std::unexpected(Error{"read", error, path});
        }
        mails.emplace_back(content);
    }
    return mails;
}

} // namespace ringmx::load
