// ringmx: the command line, and the order in which serve brings things up.
//
// Exit: 0 after a clean drain, 1 on a runtime failure, 2 on a bad command line or config
//       (CONTRACT 2).
#include "admin/queue_json.h"
#include "ask.h"
#include "base/units.h"
#include "control.h"
#include "ring/sockets.h"
#include "spool_inspect.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

namespace {

using namespace ringmx;

constexpr int exit_runtime = 1;
constexpr int exit_usage = 2;

int fail(int status, std::string_view text) {
    fmt::print(stderr, "ringmx: {}\n", text);
    return status;
}

// What the operator can do about it.
std::string_view mend_of(const Error& error) {
    switch (error.code) {
    case EADDRINUSE:
        return ": another program listens there, stop it or choose another address";
    case EADDRNOTAVAIL:
        return ": this machine has no such address, choose another";
    case EACCES:
    case EPERM:
        return ": start as root and set \"user\", or grant CAP_NET_BIND_SERVICE";
    default:
        return "";
    }
}

int fail(const Error& error) {
    return fail(exit_runtime, fmt::format("{}{}", error.message(), mend_of(error)));
}

std::string counted(std::size_t count, std::string_view noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

int check(const std::string& path) {
    const auto configuration = read_configuration(path, config::Purpose::check);
    if (!configuration) {
        fmt::print(stderr, "{}", config::report(path, configuration.error(), "not usable"));
        return exit_usage;
    }
    for (const std::string& warning : configuration->warnings) {
        fmt::print(stderr, "warning: {}\n", warning);
    }
    const Settings& settings = *configuration->settings;
    fmt::print("{}: ok, {}, {}, {}\n", path, counted(settings.listeners.size(), "listener"),
               counted(settings.routes.size(), "route"), counted(settings.pools.size(), "pool"));
    return 0;
}

int serve(const std::string& path) {
    auto configuration = read_configuration(path, config::Purpose::serve);
    if (!configuration) {
        fmt::print(stderr, "{}", config::report(path, configuration.error()));
        return exit_usage;
    }
    const std::shared_ptr<const Settings> settings = configuration->settings;
    ring::raise_descriptor_limit();
    const Expected<int> signals = take_signals();
    if (!signals) {
        return fail(signals.error());
    }
    auto sockets = bind_sockets(*settings, workers_count(*settings));
    if (!sockets) {
        return fail(sockets.error());
    }
    if (const auto switched = switch_user(settings->user); !switched) {
        return fail(switched.error());
    }
    for (std::string& warning : reload_warnings(path, *settings)) {
        configuration->warnings.push_back(std::move(warning));
    }
    if (std::string warning = RunSpool::left_behind(*settings); !warning.empty()) {
        configuration->warnings.push_back(std::move(warning));
    }
    observe::LogWriter log_writer(settings->log, STDERR_FILENO, ::getpid());
    auto control =
        Control::create(path, std::move(*configuration), std::move(*sockets), *signals, log_writer);
    if (!control) {
        return fail(control.error());
    }
    log_writer.start();
    const int status = (*control)->run();
    control->reset();
    log_writer.stop();
    return status;
}

// Whether the words behind `queue` are one of its commands. `selects`: something that only list takes
// is given.
bool is_queue_command(const std::vector<std::string>& words, bool all, bool selects) {
    if (words.empty()) {
        return false;
    }
    const std::string& verb = words.front();
    if (verb == "list") {
        return words.size() == 1 && !all;
    }
    if (selects) {
        return false;
    }
    if (verb == "retry" && all) {
        return words.size() == 1;
    }
    constexpr std::string_view of_one[] = {"show", "retry", "hold", "release", "remove"};
    return std::ranges::find(of_one, verb) != std::end(of_one) && words.size() == 2 && !all;
}

// CLI11 words some errors over several lines.
std::string one_line(std::string text) {
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    for (char& octet : text) {
        octet = octet == '\n' ? ' ' : octet;
    }
    return text;
}

// A check of CLI11: the fault, or nothing. What is no number at all it says itself.
std::string is_a_count(const std::string& given) {
    return given.starts_with('-') || given.find_first_not_of('0') == std::string::npos
               ? "expected 1 or more"
               : "";
}

struct CommandLine {
    CLI::App app{"ringmx: the front door for inbound mail", "ringmx"};
    std::string config_path;
    std::string admin_address = "127.0.0.1:8025";
    bool as_json = false;
    bool all = false;
    std::string recipient;
    std::string sender;
    std::string pool;
    std::string backend;
    std::string state;
    std::string older_than;
    std::uint64_t limit = 0;
    std::vector<std::string> rest;

    CLI::App* serve = app.add_subcommand("serve", "run the gateway in the foreground");
    CLI::App* check = app.add_subcommand("check", "validate the config and say what is wrong");
    CLI::App* status = app.add_subcommand("status", "what a running gateway is doing");
    CLI::App* queue =
        app.add_subcommand("queue", "look at a running gateway's queue, and change it");
    CLI::App* cache = app.add_subcommand(
        "cache", "look at what a running gateway knows of recipients, and make it forget");
    CLI::App* spool = app.add_subcommand("spool", "look at a spool on disk, without a gateway");

    CommandLine() {
        for (CLI::App* each : {&app, serve, check, status, queue, cache, spool}) {
            each->set_version_flag("--version", fmt::format("ringmx {}", version));
        }
        app.require_subcommand(0, 1); // none is answered below, in words that name them
        // That it is there is judged below: CLI11 would name it as missing where it is mistyped.
        for (CLI::App* command : {serve, check}) {
            command->add_option("--config", config_path, "the config file (JSON), required")
                ->type_name("FILE");
        }
        for (CLI::App* command : {status, queue, cache}) {
            command
                ->add_option("--admin", admin_address,
                             "the gateway's admin address (default " + admin_address + ")")
                ->type_name("HOST:PORT");
        }
        for (CLI::App* command : {status, queue, cache, spool}) {
            command->add_flag("--json", as_json, "print JSON");
        }
        queue->add_flag("--all", all, "with retry: every message that is not held");
        const auto selects = [this](const char* name, std::string& value, const char* type,
                                    const char* text) {
            return queue->add_option(name, value, text)
                ->type_name(type)
                ->check([](const std::string& given) {
                    return given.empty() ? std::string("expected some text") : std::string();
                });
        };
        const auto is_a_state = [](const std::string& given) {
            return admin::queue_state(given) ? std::string()
                                             : "expected " + admin::queue_state_names();
        };
        const auto is_a_time = [](const std::string& given) {
            return parse_duration(given)
                       ? std::string()
                       : std::string("expected a duration, like 30s, 5m, 2h or 4d");
        };
        selects("--recipient", recipient, "ADDRESS", "list: to this address or domain");
        selects("--sender", sender, "ADDRESS", "list: from this address or domain; <> for none");
        selects("--pool", pool, "NAME", "list: to this pool");
        selects("--backend", backend, "HOST:PORT", "list: whose backend by the hash is this one");
        selects("--state", state, "STATE",
                "list: active, deferred, parked, held, pool_hold or failed")
            ->check(is_a_state);
        selects("--older-than", older_than, "TIME", "list: queued for longer (30s, 5m, 2h, 4d)")
            ->check(is_a_time);
        queue->add_option("--limit", limit, "list: at most so many, the oldest")
            ->type_name("N")
            ->check(is_a_count);
        queue->add_option("command", rest,
                          "list | show ID | retry ID | retry --all | hold ID | release ID | "
                          "remove ID");
        cache->add_option("--limit", limit, "show: at most so many")
            ->type_name("N")
            ->check(is_a_count);
        cache->add_option("command", rest, "show [ADDRESS] | purge [ADDRESS]");
        spool->add_option("command", rest, "inspect DIR: what is in this spool.directory");
    }
};

// In the order in which they were typed, which CLI11's own text turns around.
std::string unexpected_words(const CommandLine& line, std::string_view first) {
    const std::vector<CLI::App*> commands = line.app.get_subcommands();
    if (commands.empty() && !first.starts_with('-')) {
        return fmt::format("unknown command '{}', expected serve, check, status, queue, cache "
                           "or spool; see ringmx --help",
                           first);
    }
    const std::string command = commands.empty() ? "" : " " + commands.front()->get_name();
    return fmt::format("not expected here: {}; see ringmx{} --help",
                       fmt::join(line.app.remaining(true), " "), command);
}

// What was typed where no command is understood.
std::string found_text(const std::vector<std::string>& words) {
    return words.empty() ? "a command is missing"
                         : fmt::format("found '{}'", fmt::join(words, " "));
}

int ask_queue(const HttpTarget& admin, const CommandLine& line) {
    const QueueFilters filters = {{"recipient", line.recipient}, {"sender", line.sender},
                                  {"pool", line.pool},           {"backend", line.backend},
                                  {"state", line.state},         {"older_than", line.older_than}};
    const bool selects = line.limit > 0 || std::ranges::any_of(filters, [](const auto& filter) {
                             return !filter.second.empty();
                         });
    if (!is_queue_command(line.rest, line.all, selects)) {
        std::vector<std::string> found = line.rest;
        if (line.all) {
            found.emplace_back("--all");
        }
        if (selects && found != std::vector<std::string>{"list"}) {
            found.emplace_back("with what only list takes");
        }
        return fail(exit_usage,
                    fmt::format("queue: {}, expected list, show ID, retry ID, retry --all, hold "
                                "ID, release ID or remove ID",
                                found_text(found)));
    }
    const std::string& verb = line.rest.front();
    if (verb == "list") {
        return ask_queue_list(admin, filters, line.limit, line.as_json);
    }
    if (line.all) {
        return retry_all(admin, line.as_json);
    }
    const std::string& id = line.rest.back();
    return verb == "show" ? ask_queue_entry(admin, id, line.as_json)
                          : change_queue_entry(admin, verb, id, line.as_json);
}

int ask_cache(const HttpTarget& admin, const CommandLine& line) {
    const std::string verb = line.rest.empty() ? "" : line.rest.front();
    const bool is_command = verb == "show" || (verb == "purge" && line.limit == 0);
    if (!is_command || line.rest.size() > 2) {
        std::vector<std::string> found = line.rest;
        if (verb == "purge" && line.limit > 0) {
            found.emplace_back("--limit");
        }
        return fail(exit_usage, fmt::format("cache: {}, expected show [ADDRESS] or purge [ADDRESS]",
                                            found_text(found)));
    }
    const std::optional<std::string> recipient =
        line.rest.size() == 2 ? std::optional(line.rest.back()) : std::nullopt;
    return verb == "show" ? ask_cache_list(admin, recipient, line.limit, line.as_json)
                          : purge_cache(admin, recipient, line.as_json);
}

int ask(const CommandLine& line) {
    const std::optional<HttpTarget> admin = HttpTarget::parse(line.admin_address);
    if (!admin) {
        return fail(exit_usage, fmt::format("--admin: found '{}', expected HOST:PORT or [V6]:PORT; "
                                            "see ringmx {} --help",
                                            line.admin_address,
                                            line.app.get_subcommands().front()->get_name()));
    }
    if (line.status->parsed()) {
        return ask_status(*admin, line.as_json);
    }
    return line.cache->parsed() ? ask_cache(*admin, line) : ask_queue(*admin, line);
}

int look_at_spool(const CommandLine& line) {
    if (line.rest.size() != 2 || line.rest.front() != "inspect") {
        return fail(exit_usage,
                    fmt::format("spool: {}, expected inspect DIR", found_text(line.rest)));
    }
    ring::raise_descriptor_limit(); // one a segment
    return inspect_spool(line.rest.back(), line.as_json, stdout, stderr);
}

int run(int count, char** words) {
    CommandLine line;
    try {
        line.app.parse(count, words);
    } catch (const CLI::Success& asked) {
        return line.app.exit(asked); // --help, --version
    } catch (const CLI::ExtrasError&) {
        return fail(exit_usage, unexpected_words(line, count > 1 ? words[1] : ""));
    } catch (const CLI::ParseError& error) {
        return fail(exit_usage, one_line(error.what()) + "; see ringmx --help");
    }
    if (line.serve->parsed() || line.check->parsed()) {
        if (line.config_path.empty()) {
            return fail(exit_usage, "--config FILE is missing; see ringmx --help");
        }
        return line.serve->parsed() ? serve(line.config_path) : check(line.config_path);
    }
    if (line.app.get_subcommands().empty()) {
        return fail(exit_usage,
                    "a command is missing: serve, check, status, queue, cache or spool; see "
                    "ringmx --help");
    }
    return line.spool->parsed() ? look_at_spool(line) : ask(line);
}

} // namespace

int main(int count, char** words) {
    try {
        return run(count, words);
    } catch (const std::exception& error) {
        return fail(exit_runtime, error.what());
    }
}
