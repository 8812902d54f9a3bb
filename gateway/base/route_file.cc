#include "base/route_file.h"

#include "base/domain.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace ringmx {

namespace {

constexpr std::size_t read_bytes = 256 * 1024; // large enough that system calls don't show
static_assert(read_bytes > route_line_bytes_max, "a whole line fits behind a cut one");

class OpenFile {
  public:
    explicit OpenFile(const std::string& path)
        : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
    ~OpenFile() {
        if (descriptor_ >= 0) {
            close(descriptor_);
        }
    }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    [[nodiscard]] int descriptor() const { return descriptor_; }

  private:
    int descriptor_;
};

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

// Without its comment and the blanks around it. A "#" inside quotes or inside a word is no comment.
std::string_view entry_of(std::string_view line) {
    bool is_quoted = false;
    for (std::size_t index = 0; index < line.size(); ++index) {
        if (line[index] == '\\' && is_quoted) {
            ++index;
        } else if (line[index] == '"') {
            is_quoted = !is_quoted;
        } else if (line[index] == '#' && !is_quoted && (index == 0 || is_blank(line[index - 1]))) {
            line = line.substr(0, index);
        }
    }
    while (!line.empty() && is_blank(line.front())) {
        line.remove_prefix(1);
    }
    while (!line.empty() && is_blank(line.back())) {
        line.remove_suffix(1);
    }
    return line;
}

// Cuts what is read into lines and gives those with an entry on.
class LineCutter {
  public:
    explicit LineCutter(const std::function<bool(const RouteLine&)>& each) : each_(each) {}

    // False when the callback wants no more.
    bool line(std::string_view text, bool too_long) {
        ++number_;
        if (number_ == 1 && text.starts_with("\xef\xbb\xbf")) {
            text.remove_prefix(3);
        }
        const bool is_long = too_long || text.size() > route_line_bytes_max;
        const std::string_view entry = is_long ? std::string_view{} : entry_of(text);
        if (entry.empty() && !is_long) {
            return true;
        }
        ++given_count_;
        return each_(RouteLine{.number = number_, .text = entry, .too_long = is_long});
    }
    [[nodiscard]] std::uint64_t given_count() const { return given_count_; }

  private:
    const std::function<bool(const RouteLine&)>& each_;
    std::uint64_t number_ = 0;
    std::uint64_t given_count_ = 0;
};

std::string_view without_prefix(std::string_view text, std::string_view prefix) {
    return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

} // namespace

bool parse_route_entry(std::string_view text, RouteEntry& out) {
    out.key.clear();
    if (text == "*") {
        out.kind = RouteEntryKind::any;
        return true;
    }
    if (text.starts_with("*.")) {
        out.kind = RouteEntryKind::wildcard;
        const std::string_view domain = without_prefix(text, "*.");
        return !domain.starts_with('[') && canonical_domain(domain, out.key);
    }
    if (text.find('@') != std::string_view::npos) {
        out.kind = RouteEntryKind::mailbox;
        // Whoever writes "*@domain" means the whole domain; taken as the mailbox "*" it would
        // silently match nothing.
        return !text.starts_with("*@") && canonical_mailbox(text, out.key);
    }
    out.kind = RouteEntryKind::domain;
    return canonical_domain(text, out.key);
}

std::optional<RouteEntry> parse_route_entry(std::string_view text) {
    RouteEntry out;
    return parse_route_entry(text, out) ? std::optional(std::move(out)) : std::nullopt;
}

Expected<std::uint64_t> for_each_route_line(const std::string& path,
                                            const std::function<bool(const RouteLine&)>& each) {
    const OpenFile file(path);
    if (file.descriptor() < 0) {
        return std::unexpected(Error{.operation = "open", .code = errno, .subject = path});
    }
    struct stat status{};
    if (fstat(file.descriptor(), &status) != 0) {
        return std::unexpected(Error{.operation = "stat", .code = errno, .subject = path});
    }
    if (!S_ISREG(status.st_mode)) {
        const int code = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
        return std::unexpected(Error{.operation = "read", .code = code, .subject = path});
    }
    LineCutter cutter(each);
    const auto buffer = std::make_unique_for_overwrite<char[]>(read_bytes);
    std::size_t held_bytes = 0; // the beginning of a line that is not ended yet
    bool is_skipping = false;   // inside a line whose beginning was already too long to hold
    while (true) {
        const ssize_t got =
            read(file.descriptor(), buffer.get() + held_bytes, read_bytes - held_bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return std::unexpected(Error{.operation = "read", .code = errno, .subject = path});
        }
        std::string_view rest(buffer.get(), held_bytes + static_cast<std::size_t>(got));
        if (got == 0) {
            if (!rest.empty() || is_skipping) {
                static_cast<void>(cutter.line(rest, is_skipping));
            }
            return cutter.given_count();
        }
        for (std::size_t end = rest.find('\n'); end != std::string_view::npos;
             end = rest.find('\n')) {
            if (!cutter.line(rest.substr(0, end), is_skipping)) {
                return cutter.given_count();
            }
            is_skipping = false;
            rest.remove_prefix(end + 1);
        }
        if (rest.size() > route_line_bytes_max) {
            is_skipping = true;
            rest = {};
        }
        held_bytes = rest.size();
        if (held_bytes > 0) {
            std::memmove(buffer.get(), rest.data(), held_bytes);
        }
    }
}

} // namespace ringmx
