// Rigs with the backends that most tests of a worker want, and what is said to them again and again.
//
//   Single  pool "one" has one backend, which gets everything
//   Pair    pool "one" has two: a test does not know which one the hash chooses
//
// Thread: one. Errors: as Rig's.
#pragma once

#include "sim/worker_rig.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::sim {

using Said = std::optional<std::string>;
using Inbox = worker::Inbox;

inline const std::string taken = "250 2.0.0 Taken by the backend\r\n";

// Says `reply` to each command that begins with `verb`.
inline ScriptedBackend::Answer always(std::string verb, std::string reply) {
    return [verb = std::move(verb), reply = std::move(reply)](const std::string& command) {
        return command.starts_with(verb) ? Said(reply) : std::nullopt;
    };
}

struct Single {
    explicit Single(BackendProfile profile = {}) : Single(options(), profile) {}
    explicit Single(const std::function<void(Settings&)>& change, BackendProfile profile = {})
        : Single(options(change), profile) {}
    explicit Single(const RigOptions& options, BackendProfile profile = {})
        : rig(options), backend(rig.backend(Rig::first_address, profile)) {}

    static RigOptions options(const std::function<void(Settings&)>& change = {});

    // The answer to RCPT.
    std::string begin(Client& client);
    // A whole transaction: its last answer.
    std::string message(Client& client);
    [[nodiscard]] std::size_t open_now() const {
        return backend.connections - backend.connections_gone;
    }

    Rig rig;
    ScriptedBackend& backend;
};

struct Pair {
    explicit Pair(const RigOptions& options = {}, BackendProfile profile = {})
        : rig(options), first(rig.backend(Rig::first_address, profile)),
          second(rig.backend(Rig::second_address, profile)) {}

    void both(const ScriptedBackend::Answer& answer) { first.answer = second.answer = answer; }
    // The first command with `verb` meets `reply` at whichever backend it comes to; after it all is
    // well.
    void once(const std::string& verb, const std::string& reply);

    // DATA and all that follows: the last answer.
    std::string send_message(Client& client, std::string_view text = "Subject: x\r\n\r\nx\r\n");
    std::string transaction(Client& client);

    [[nodiscard]] std::size_t count_of(std::string_view verb) const {
        return first.count_of(verb) + second.count_of(verb);
    }
    [[nodiscard]] std::size_t taken_count() const {
        return first.taken_count() + second.taken_count();
    }
    // Messages whose last octet came to a backend.
    [[nodiscard]] std::size_t complete_count() const;

    Rig rig;
    ScriptedBackend& first;
    ScriptedBackend& second;
};

} // namespace ringmx::sim
