#include "config/config.h"

#include "config/json_file.h"
#include "config/schema.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <system_error>

namespace ringmx::config {

namespace {

Loaded single_fault(std::string text) {
    Loaded loaded;
    loaded.faults.push_back(Fault{.pointer = "", .text = std::move(text)});
    return loaded;
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
    simdjson::dom::parser parser;
    const auto root = parse_json(parser, json, "a JSON object with \"pools\" and \"routes\"");
    if (!root) {
        return single_fault(root.error());
    }
    Faults faults;
    Sources sources{.folder = folder, .listener_indices = {}, .routes = {}};
    auto settings = std::make_shared<Settings>();
    read_settings(*root, *settings, sources, faults);
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

std::vector<std::string> unknown_users_warnings(const Settings& settings,
                                                const std::vector<bool>& takes_domains) {
    std::vector<std::string> warnings;
    for (std::size_t index = 0; index < settings.routes.size(); ++index) {
        if (takes_domains[index] && !settings.routes[index].verify_backend) {
            warnings.push_back(fmt::format(
                "/routes/{}: mail for users that do not exist is taken here, and fails later; "
                "\"verify\": \"backend\" refuses it at RCPT",
                index));
        }
    }
    return warnings;
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
