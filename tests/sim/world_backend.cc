#include "sim/world_backend.h"

#include <utility>

namespace ringmx::sim {
namespace {

using Then = Judged::Then;

constexpr WorldBackend::Mood lasting_moods[] = {
    WorldBackend::Mood::dead, WorldBackend::Mood::refusing, WorldBackend::Mood::storm,
    WorldBackend::Mood::breaking};

bool is_of_message(const Asked& asked) {
    return asked.command.starts_with("MAIL") || asked.command.starts_with("RCPT") ||
           asked.command == "DATA" || asked.command == "chunk" || asked.command == ".";
}

} // namespace

WorldBackend::WorldBackend(World& world, ScriptedBackend& scripted, const char* address,
                           const char* pool, bool recovers)
    : world_(world), random_(world.rig->network.random()), scripted_(scripted),
      address_(SocketAddress::parse(address).value()), pool_(pool), recovers_(recovers) {
    scripted_.judge = [this](const Asked& asked) { return judge(asked); };
    scripted_.overhear = [this](const BackendMessage& message) {
        world_.ledger.overheard(message);
    };
    if (recovers_) {
        change_mood();
    } else {
        // Where the whole message goes up at once, only its sender can try again.
        scripted_.profile.chunking = false;
        become(lasting_moods[random_.below(std::size(lasting_moods))]);
    }
}

void WorldBackend::change_mood() {
    SimNetwork& network = world_.rig->network;
    scripted_.go_on_reading();
    scripted_.go_on();
    network.black_hole(address_, false);
    scripted_.refuse_connections(false);
    if (world_.in_peace()) {
        mood_ = Mood::well;
        return;
    }
    if (random_.chance(0.3)) { // it has been upgraded
        scripted_.profile.pipelining = random_.chance(0.8);
        scripted_.profile.chunking = random_.chance(0.5);
        scripted_.profile.eight_bit = random_.chance(0.8);
    }
    become(random_.chance(0.3)
               ? Mood::flaky
               : static_cast<Mood>(random_.below(static_cast<std::uint64_t>(Mood::count_))));
    const Duration time = std::chrono::milliseconds(random_.between(100, 40'000));
    network.schedule(std::min<Duration>(time, world_.trouble_ends_at - network.now()),
                     [this] { change_mood(); });
}

void WorldBackend::become(Mood mood) {
    mood_ = mood;
    if (mood == Mood::deaf) {
        scripted_.stop_reading();
    } else if (mood == Mood::closing) {
        close_some_idle();
    } else if (mood == Mood::dead) {
        scripted_.close_all();
        if (random_.chance(0.5)) {
            world_.rig->network.black_hole(address_);
        } else {
            scripted_.refuse_connections(true);
        }
    }
}

void WorldBackend::close_some_idle() {
    scripted_.close_idle(random_.chance(0.5) ? "421 4.4.2 You have been idle\r\n" : "");
    world_.rig->network.schedule(std::chrono::milliseconds(random_.between(1, 3000)), [this] {
        if (mood_ == Mood::closing) {
            close_some_idle();
        }
    });
}

// What makes an answer unlike any other.
std::string WorldBackend::about(const Asked& asked) {
    std::string text = asked.command.starts_with("RCPT") ? mailbox_in(asked.command) + " of " : "";
    text += asked.command.starts_with("MAIL") ? mailbox_in(asked.command)
            : asked.message != nullptr        ? mailbox_in(asked.message->mail)
                                              : "nobody";
    return text + " at " + address_.text() + ", no " + std::to_string(++said_count_) + "\r\n";
}

Judged WorldBackend::judge(const Asked& asked) {
    world_.ledger.heard(pool_, asked);
    Judged judged = moody(asked);
    world_.ledger.answered(asked, judged.text);
    return judged;
}

Judged WorldBackend::ordinary(const Asked& asked) {
    if (is_of_message(asked) && asked.ordinary.starts_with("250 ")) {
        const std::string code = asked.ordinary.substr(0, 9);
        if (random_.chance(0.1)) {
            return {"250-" + code.substr(4) + " Well,\r\n" + code + " " + about(asked)};
        }
        return {code + " " + about(asked)};
    }
    return {asked.ordinary};
}

Judged WorldBackend::moody(const Asked& asked) {
    Judged said = ordinary(asked);
    switch (mood_) {
    case Mood::well:
    case Mood::deaf:
    case Mood::closing:
    case Mood::dead:
    case Mood::count_:
        return said;
    case Mood::flaky:
        return random_.chance(0.1) ? something_wrong(asked) : said;
    case Mood::storm:
        if (random_.chance(recovers_ ? 0.8 : 1.0)) {
            // It may well keep the connection open for a while.
            said = {"421 4.3.2 Not now: " + about(asked)};
            said.then = random_.chance(0.5) ? Then::close : Then::go_on;
        }
        return said;
    case Mood::slow:
        said.after = std::chrono::milliseconds(random_.between(10, 30'000));
        return said;
    case Mood::silent:
        return {.text = "", .then = Then::hush};
    case Mood::refusing:
        return asked.command == "connect" ? Judged{"554 5.3.2 No service\r\n"} : said;
    case Mood::breaking:
        if (asked.command == "DATA" || asked.command == "chunk" ||
            (asked.command == "." && asked.message != nullptr && asked.message->by_chunks)) {
            return {.text = "", .then = random_.chance(0.5) ? Then::close : Then::reset};
        }
        return said;
    }
    return said;
}

Judged WorldBackend::something_wrong(const Asked& asked) {
    Judged said = ordinary(asked);
    switch (random_.below(12)) {
    case 0:
        return {.text = "", .then = Then::close};
    case 1:
        return {.text = "", .then = Then::reset};
    case 2:
        return {.text = "", .then = Then::end};
    case 3:
        return {.text = "", .then = Then::hush};
    case 4:
        said.after = std::chrono::milliseconds(random_.between(1, 90'000));
        return said;
    case 5:
        said.then = random_.chance(0.5) ? Then::close : Then::reset; // right behind its answer
        return said;
    case 6:
        world_.ledger.garbled(asked);
        return {insane(asked)};
    case 7:
        return {"421 4.3.2 Going down: " + about(asked)};
    case 8:
        return {"503 5.5.1 That is not for you to say: " + about(asked)};
    case 9:
        return {"450 4.2.0 Later: " + about(asked)};
    case 10:
        return {"452 4.2.2 Full: " + about(asked)};
    default:
        return {"550 5.1.1 No: " + about(asked)};
    }
}

std::string WorldBackend::insane(const Asked& asked) {
    // Never two answers to one command: nobody can tell whose the second one is.
    switch (random_.below(8)) {
    case 0:
        return "what?\r\n";
    case 1:
        return "999 9.9.9 Too much\r\n";
    case 2:
        return "250-2.0.0 one thing\r\n550 5.0.0 and another\r\n";
    case 3:
        return std::string(3000, '2') + "\r\n";
    case 4:
        return "250-" + std::string(100'000, 'x');
    case 5:
        return std::string("250 \0\x01\xff\r\n", 9);
    case 6:
        return asked.command == "DATA" ? "250 2.0.0 Done already\r\n" : "354 Go on\r\n";
    default:
        return "200\r\n";
    }
}

} // namespace ringmx::sim
