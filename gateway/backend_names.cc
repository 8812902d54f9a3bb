#include "backend_names.h"

#include <algorithm>
#include <set>

namespace ringmx {

using upstream::Resolver;

void BackendNames::use(const Settings& settings) {
    std::set<std::string, std::less<>> wanted;
    for (const PoolSettings& pool : settings.pools) {
        for (const BackendSettings& backend : pool.backends) {
            if (backend.path.empty() && !IpAddress::parse(backend.host)) {
                wanted.insert(backend.host);
            }
        }
    }
    for (const std::string& host : wanted) {
        if (!names_.contains(host)) {
            names_.emplace(host, resolver_->add(host, loop_.now()));
        }
    }
    std::erase_if(names_, [&](const auto& entry) {
        const bool gone = !wanted.contains(entry.first);
        if (gone) {
            resolver_->remove(entry.second);
        }
        return gone;
    });
}

std::vector<SocketAddress> BackendNames::of(const BackendSettings& backend) {
    const auto name = backend.path.empty() ? names_.find(backend.host) : names_.end();
    if (name == names_.end()) {
        return worker::LiteralAddresses().of(backend);
    }
    std::vector<SocketAddress> addresses;
    for (const IpAddress& ip : resolver_->addresses(name->second)) {
        addresses.push_back({ip, backend.port, false, {}});
    }
    return addresses;
}

bool BackendNames::all_answered() const {
    return std::ranges::all_of(
        names_, [&](const auto& entry) { return resolver_->is_answered(entry.second); });
}

bool BackendNames::handle(const ring::Completion& completion) {
    const std::uint8_t operation = completion.token.operation;
    if (operation != names_poll_in && operation != names_poll_out) {
        return operation == names_poll_cancel;
    }
    const auto found = std::ranges::find_if(polls_, [&](const Poll& poll) {
        return poll.operation == operation && poll.serial == completion.token.generation;
    });
    if (found == polls_.end()) {
        return true;
    }
    const Poll done = *found;
    polls_.erase(found);
    if (done.is_wanted) {
        resolver_->ready(done.descriptor, operation == names_poll_in, operation == names_poll_out,
                         loop_.now());
    }
    return true;
}

bool BackendNames::run() {
    if (resolver_->next_deadline(loop_.now()) <= loop_.now()) {
        resolver_->tick(loop_.now());
    }
    for (const Resolver::Watch& watch : resolver_->watches()) {
        if (watch.read) {
            poll(watch, names_poll_in);
        }
        if (watch.write) {
            poll(watch, names_poll_out);
        }
    }
    for (Poll& armed : polls_) {
        const bool watched =
            std::ranges::any_of(resolver_->watches(), [&](const Resolver::Watch& watch) {
                return watch.serial == armed.serial;
            });
        if (!watched && armed.is_wanted) {
            // The resolver closed it; the poll would keep the socket open for ever.
            armed.is_wanted = false;
            ring::Operation cancel{};
            cancel.code = ring::Opcode::cancel;
            cancel.token = {names_poll_cancel, 0, 0};
            cancel.target = {armed.operation, 0, armed.serial};
            loop_.queue(cancel);
        }
    }
    return !resolver_->take_changed().empty();
}

void BackendNames::poll(const Resolver::Watch& watch, std::uint8_t operation) {
    const bool armed = std::ranges::any_of(polls_, [&](const Poll& poll) {
        return poll.serial == watch.serial && poll.operation == operation;
    });
    if (armed) {
        return;
    }
    ring::Operation wanted{};
    wanted.code = operation == names_poll_in ? ring::Opcode::poll_in : ring::Opcode::poll_out;
    wanted.descriptor = watch.descriptor;
    wanted.token = {operation, 0, watch.serial};
    loop_.queue(wanted);
    polls_.push_back({watch.descriptor, watch.serial, operation, true});
}

Instant BackendNames::next_deadline() const { return resolver_->next_deadline(loop_.now()); }

} // namespace ringmx
