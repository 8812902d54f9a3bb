#include "upstream/resolver.h"

#include "base/assert.h"

#include <algorithm>
#include <ares.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/time.h>
#include <utility>

namespace ringmx::upstream {

namespace {

std::vector<IpAddress> addresses_of(const ares_addrinfo& answer) {
    std::vector<IpAddress> addresses;
    for (const ares_addrinfo_node* node = answer.nodes; node != nullptr; node = node->ai_next) {
        addresses.push_back(
            SocketAddress::from_kernel(node->ai_addr, static_cast<unsigned>(node->ai_addrlen)).ip);
    }
    std::ranges::sort(addresses);
    const auto twins = std::ranges::unique(addresses);
    addresses.erase(twins.begin(), twins.end());
    return addresses;
}

// The shortest life of all records; those from /etc/hosts have 0 and get ttl_min.
Duration ttl_of(const ares_addrinfo& answer) {
    int seconds = INT32_MAX;
    for (const ares_addrinfo_node* node = answer.nodes; node != nullptr; node = node->ai_next) {
        seconds = std::min(seconds, node->ai_ttl);
    }
    for (const ares_addrinfo_cname* cname = answer.cnames; cname != nullptr; cname = cname->next) {
        seconds = std::min(seconds, cname->ttl);
    }
    return std::chrono::seconds(std::max(seconds, 0));
}

Error resolver_error(const char* operation, int status, const std::string& subject) {
    return {operation, 0, subject + ": " + ares_strerror(status)};
}

} // namespace

struct Resolver::State {
    struct Entry {
        std::string host;
        std::uint32_t users = 0;
        bool literal = false;
        bool answered = false;
        bool asking = false;
        std::uint32_t generation =
            0; // of the entry's place: an answer to a removed name is dropped
        std::vector<IpAddress> addresses;
        std::string failure;
        Instant due = never;
    };
    // What one query carries to its answer.
    struct Query {
        State* state;
        Name name;
        std::uint32_t generation;
    };

    Settings settings;
    ares_channel channel = nullptr;
    Instant now; // of the call that is under way, for answers that come inside it
    std::vector<Entry> entries;
    std::vector<Watch> watches;
    std::uint32_t next_serial = 1;
    std::vector<Name> changed;
    std::vector<News> news;

    static void on_socket(void* data, ares_socket_t descriptor, int readable, int writable);
    static void on_answer(void* data, int status, int timeouts, ares_addrinfo* answer);

    void ask(Name name);
    void take_answer(Name name, int status, const ares_addrinfo* answer);
    void note_changed(Name name);
};

void Resolver::State::on_socket(void* data, ares_socket_t descriptor, int readable, int writable) {
    State& state = *static_cast<State*>(data);
    const auto known = std::ranges::find(state.watches, descriptor, &Watch::descriptor);
    if (readable == 0 && writable == 0) {
        if (known != state.watches.end()) {
            state.watches.erase(known);
        }
    } else if (known != state.watches.end()) {
        known->read = readable != 0;
        known->write = writable != 0;
    } else {
        state.watches.push_back({descriptor, readable != 0, writable != 0, state.next_serial++});
    }
}

void Resolver::State::on_answer(void* data, int status, int /*timeouts*/, ares_addrinfo* answer) {
    const std::unique_ptr<Query> query(static_cast<Query*>(data));
    if (status != ARES_EDESTRUCTION) {
        const Entry& entry = query->state->entries[query->name];
        if (entry.generation == query->generation && entry.users > 0) {
            query->state->take_answer(query->name, status, answer);
        }
    }
    if (answer != nullptr) {
        ares_freeaddrinfo(answer);
    }
}

void Resolver::State::ask(Name name) {
    Entry& entry = entries[name];
    entry.asking = true;
    entry.due = never;
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_flags = ARES_AI_NOSORT;     // sorting would open sockets to every address
    const std::string host = entry.host; // the answer may come at once and change `entries`
    auto query = std::make_unique<Query>(Query{this, name, entry.generation});
    ares_getaddrinfo(channel, host.c_str(), nullptr, &hints, &State::on_answer, query.release());
}

void Resolver::State::take_answer(Name name, int status, const ares_addrinfo* answer) {
    Entry& entry = entries[name];
    const bool first = !entry.answered;
    const bool failed_before = !entry.failure.empty();
    entry.asking = false;
    entry.answered = true;
    std::vector<IpAddress> addresses;
    Duration ttl{};
    if (status == ARES_SUCCESS && answer != nullptr) {
        addresses = addresses_of(*answer);
        ttl = ttl_of(*answer);
    }
    if (addresses.empty()) {
        entry.failure = ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status);
        entry.due = now + settings.ttl_min;
    } else {
        entry.failure.clear();
        entry.due = now + std::clamp(ttl, settings.ttl_min, settings.ttl_max);
    }
    const bool moved = !addresses.empty() && addresses != entry.addresses;
    if (moved) {
        entry.addresses = std::move(addresses);
    }
    if (first || moved) {
        note_changed(name);
    }
    if (entry.failure.empty() == failed_before) {
        news.push_back({entry.host, entry.failure, !entry.addresses.empty()});
    }
}

void Resolver::State::note_changed(Name name) {
    if (std::ranges::find(changed, name) == changed.end()) {
        changed.push_back(name);
    }
}

Expected<std::unique_ptr<Resolver>> Resolver::create(const Settings& settings) {
    if (const int status = ares_library_init(ARES_LIB_INIT_ALL); status != ARES_SUCCESS) {
        return std::unexpected(resolver_error("start", status, "the resolver"));
    }
    // From here on the Resolver's destructor cleans up.
    std::unique_ptr<Resolver> resolver(new Resolver(std::make_unique<State>()));
    State& state = *resolver->state_;
    state.settings = settings;
    ares_options options{};
    options.sock_state_cb = &State::on_socket;
    options.sock_state_cb_data = &state;
    options.timeout = settings.query_timeout_ms;
    options.tries = settings.tries;
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
#ifdef ARES_OPT_QUERY_CACHE
    // From 1.31 on c-ares keeps answers for up to an hour by default; ttl_max is ours to hold.
    options.qcache_max_ttl = 0;
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    if (const int status = ares_init_options(&state.channel, &options, mask);
        status != ARES_SUCCESS) {
        state.channel = nullptr;
        return std::unexpected(resolver_error("start", status, "the resolver"));
    }
    if (!settings.servers.empty()) {
        const int status = ares_set_servers_ports_csv(state.channel, settings.servers.c_str());
        if (status != ARES_SUCCESS) {
            return std::unexpected(resolver_error("use name servers", status, settings.servers));
        }
    }
    return resolver;
}

Resolver::Resolver(std::unique_ptr<State> state) : state_(std::move(state)) {}

Resolver::~Resolver() {
    if (state_->channel != nullptr) {
        ares_destroy(state_->channel);
    }
    ares_library_cleanup();
}

Resolver::Name Resolver::add(std::string_view host, Instant now) {
    State& state = *state_;
    state.now = now;
    auto place = state.entries.end();
    for (auto entry = state.entries.begin(); entry != state.entries.end(); ++entry) {
        if (entry->users > 0 && entry->host == host) {
            ++entry->users;
            return static_cast<Name>(entry - state.entries.begin());
        }
        if (entry->users == 0) {
            place = entry;
        }
    }
    if (place == state.entries.end()) {
        place = state.entries.emplace(place);
    }
    const auto name = static_cast<Name>(place - state.entries.begin());
    const std::uint32_t generation = place->generation + 1;
    *place = {};
    place->host = host;
    place->users = 1;
    place->generation = generation;
    if (const std::optional<IpAddress> literal = IpAddress::parse(host)) {
        place->literal = true;
        place->answered = true;
        place->addresses = {*literal};
        state.note_changed(name);
    } else {
        state.ask(name);
    }
    return name;
}

void Resolver::remove(Name name) {
    State::Entry& entry = state_->entries[name];
    RINGMX_ASSERT_STATE(entry.users > 0, "name %u was removed before", name);
    if (--entry.users == 0) {
        entry.due = never;
        std::erase(state_->changed, name);
    }
}

std::span<const IpAddress> Resolver::addresses(Name name) const {
    return state_->entries[name].addresses;
}

bool Resolver::is_answered(Name name) const { return state_->entries[name].answered; }

std::string_view Resolver::failure(Name name) const { return state_->entries[name].failure; }

std::span<const Resolver::Watch> Resolver::watches() const { return state_->watches; }

Instant Resolver::next_deadline(Instant now) const {
    Instant deadline = never;
    for (const State::Entry& entry : state_->entries) {
        deadline = std::min(deadline, entry.due);
    }
    timeval left{};
    if (ares_timeout(state_->channel, nullptr, &left) != nullptr) {
        const Duration wait =
            std::chrono::seconds(left.tv_sec) + std::chrono::microseconds(left.tv_usec);
        deadline = std::min(deadline, now + wait);
    }
    return deadline;
}

void Resolver::ready(int descriptor, bool readable, bool writable, Instant now) {
    state_->now = now;
    ares_process_fd(state_->channel, readable ? descriptor : ARES_SOCKET_BAD,
                    writable ? descriptor : ARES_SOCKET_BAD);
}

void Resolver::tick(Instant now) {
    State& state = *state_;
    state.now = now;
    ares_process_fd(state.channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); // its own time-outs
    for (Name name = 0; name < state.entries.size(); ++name) {
        if (state.entries[name].due <= now && !state.entries[name].asking) {
            state.ask(name);
        }
    }
}

std::vector<Resolver::Name> Resolver::take_changed() { return std::exchange(state_->changed, {}); }

std::vector<Resolver::News> Resolver::take_news() { return std::exchange(state_->news, {}); }

} // namespace ringmx::upstream
