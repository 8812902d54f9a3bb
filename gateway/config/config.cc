#include "config/config.h"

#include "config/json_place.h"
#include "config/large_numbers.h"
#include "config/schema.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <fcntl.h>
#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <expected>
#include <optional>
#include <system_error>

namespace ringmx::config {

namespace {

constexpr std::string_view blanks = " \t\r\n";

Loaded single_fault(std::string text) {
    Loaded loaded;
    loaded.faults.push_back(Fault{.pointer = "", .text = std::move(text)});
    return loaded;
}

// The whole file, or what is wrong with it. A pipe is welcome: the bound is on what is read, not on
// what stat says.
std::expected<std::string, std::string> read_whole(const std::filesystem::path& file) {
    const auto failed = [] {
        return std::unexpected(
            fmt::format("can't be read ({}), expected a readable JSON file", std::strerror(errno)));
    };
    const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return failed();
    }
    constexpr std::size_t step_bytes = 64 * 1024;
    std::string content;
    while (content.size() <= config_bytes_max) {
        const std::size_t held_bytes = content.size();
        content.resize(held_bytes + step_bytes);
        const ssize_t got = read(descriptor, content.data() + held_bytes, step_bytes);
        content.resize(held_bytes + (got > 0 ? static_cast<std::size_t>(got) : 0));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            const auto fault = failed();
            close(descriptor);
            return fault;
        }
        if (got == 0) {
            close(descriptor);
            return content;
        }
    }
    close(descriptor);
    return std::unexpected(fmt::format(
        "is over {} MiB, expected less (long lists of recipients belong in a recipients_file)",
        config_bytes_max >> 20U));
}

std::string syntax_fault(const std::optional<JsonPlace>& place, simdjson::error_code code) {
    if (place) {
        return fmt::format("line {}, column {}: {}", place->line, place->column, place->text);
    }
    return fmt::format("can't be read as JSON: {}", simdjson::error_message(code));
}

} // namespace

Loaded load(const std::filesystem::path& file) {
    const auto content = read_whole(file);
    if (!content) {
        return single_fault(content.error());
    }
    std::error_code status;
    const std::filesystem::path absolute = std::filesystem::absolute(file, status);
    return parse(*content, (status ? file : absolute).parent_path());
}

Loaded parse(std::string_view json, const std::filesystem::path& folder, Files files) {
    constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
    if (json.starts_with(byte_order_mark)) {
        json.remove_prefix(byte_order_mark.size());
    }
    if (json.size() > config_bytes_max) {
        return single_fault("is too large, expected less");
    }
    if (json.find_first_not_of(blanks) == std::string_view::npos) {
        return single_fault("is empty, expected a JSON object with \"pools\" and \"routes\"");
    }
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    auto code = parser.parse(json.data(), json.size()).get(root);
    std::optional<JsonPlace> place;
    if (code != simdjson::SUCCESS) {
        place = first_json_error(json);
        if (!place) { // it is JSON, with a number that no type holds
            code = parser.parse(with_blunt_numbers(json)).get(root);
        }
    }
    if (code != simdjson::SUCCESS) {
        return single_fault(syntax_fault(place, code));
    }
    Faults faults;
    Sources sources{.folder = folder, .listener_indices = {}, .routes = {}};
    auto settings = std::make_shared<Settings>();
    read_settings(root, *settings, sources, faults);
    cross_check(*settings, sources, files, faults);
    Loaded loaded;
    loaded.faults = std::move(faults).take();
    if (loaded.faults.empty()) {
        loaded.warnings = settings_warnings(*settings, sources);
        loaded.settings = std::move(settings);
    } else {
        loaded.readable = std::move(settings);
    }
    return loaded;
}

std::string postmaster_warning(const Settings& settings) {
    const std::string here = "postmaster@" + settings.hostname;
    if (settings.postmaster.empty()) {
        return fmt::format(
            "/postmaster: no route takes {} (RFC 5321, 4.5.1): give \"postmaster\" an "
            "address that a route takes",
            echoed(here));
    }
    return fmt::format("/postmaster: no route takes {} nor {} (RFC 5321, 4.5.1): give an address "
                       "that a route takes",
                       echoed(here), echoed(settings.postmaster));
}

Machine Machine::here() {
    Machine machine;
    machine.is_root = geteuid() == 0;
    rlimit limit{};
    const bool is_known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY;
    machine.descriptors_max = is_known ? limit.rlim_max : UINT64_MAX;
    machine.has_user = [](const std::string& name) { return getpwnam(name.c_str()) != nullptr; };
    return machine;
}

std::vector<std::string> machine_warnings(const Settings& settings, Purpose purpose,
                                          const Machine& machine) {
    std::vector<std::string> warnings;
    if (settings.user.empty() && machine.is_root) {
        warnings.push_back("/user: absent, so the gateway stays root: name a user to switch to");
    }
    if (!settings.user.empty() && !machine.has_user(settings.user)) {
        warnings.push_back(
            fmt::format("/user: this machine has no user {}", echoed(settings.user)));
    }
    // serve reckons with what it really has, and says so itself.
    if (purpose == Purpose::check && settings.limits.connections > machine.descriptors_max) {
        warnings.push_back(
            fmt::format("/limits/connections: {} is over the limit of {} open files: raise it "
                        "(LimitNOFILE=, ulimit -Hn) or lower this",
                        settings.limits.connections, machine.descriptors_max));
    }
    return warnings;
}

} // namespace ringmx::config
