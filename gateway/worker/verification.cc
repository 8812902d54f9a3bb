#include "worker/verification.h"

#include "worker/choice_key.h"
#include "worker/client_connection.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace ringmx::worker {

using observe::VerificationResult;
using policy::VerificationCache;

namespace {

bool some_route_verifies(const Settings& settings) {
    return std::ranges::any_of(settings.routes, &RouteSettings::verify_backend);
}

// What chooses the backend must not hang on who asks.
HashKey hash_of(const Pool& pool) {
    switch (pool.settings().hash) {
    case HashKey::recipient_domain:
        return HashKey::recipient_domain;
    case HashKey::none:
        return HashKey::none;
    case HashKey::recipient:
    case HashKey::sender:
    case HashKey::client_address:
        break;
    }
    return HashKey::recipient;
}

policy::RecipientRefusal refusal_of(const smtp::Reply& reply) {
    const smtp::EnhancedCode& code = reply.enhanced;
    return {reply.code, {code.class_digit, code.subject, code.detail}, reply.text};
}

} // namespace

Verification::Verification(Worker& worker) : worker_(worker), probes_(questions_max) {
    configuration_changed();
}
Verification::~Verification() = default;

// What is kept is kept unless there is to be more or less of it.
void Verification::configuration_changed() {
    const Settings& settings = *worker_.snapshot()->settings;
    if (!some_route_verifies(settings)) {
        cache_.reset();
        show_count();
        return;
    }
    // What is left over goes to the first ones: all together keep as many as they may, and no more.
    const std::uint64_t workers = worker_.workers_count();
    const std::uint64_t left_over = settings.verification.entries % workers;
    const std::uint64_t entries = std::min<std::uint64_t>(settings.verification.entries / workers +
                                                              (worker_.index() < left_over ? 1 : 0),
                                                          UINT32_MAX / 2);
    if (cache_ == nullptr || cache_->entries_max() != entries) {
        cache_ = std::make_unique<VerificationCache>(static_cast<std::uint32_t>(entries),
                                                     worker_.random());
        show_count();
    }
}

CacheAnswer Verification::answer(const CacheQuestion& question) {
    CacheAnswer made;
    if (cache_ != nullptr) {
        made = question.kind == CacheQuestion::Kind::list ? list(question) : purge(question);
    }
    made.question = question.number;
    return made;
}

// In what pool it is kept is said by the routes of now, which are what is asked for.
std::optional<VerificationCache::Key> Verification::key_of(const std::string& recipient) const {
    std::string key;
    const Snapshot& snapshot = *worker_.snapshot();
    const auto target = snapshot.routes->find_mailbox(recipient, key);
    if (!target) {
        return std::nullopt;
    }
    return cache_->key_of(snapshot.pools[target->pool_index]->settings().name, key);
}

CacheAnswer Verification::list(const CacheQuestion& question) const {
    CacheAnswer made;
    const auto add = [&](const VerificationCache::Listed& listed) {
        const policy::RecipientRefusal& refusal = listed.answer.refusal;
        const std::string_view mailbox =
            question.recipient.empty() ? "recipient" : std::string_view(question.recipient);
        CacheRow& row = made.rows.emplace_back();
        row.remaining = listed.remaining;
        if (!listed.answer.is_positive()) {
            row.reply = fmt::format("{} {}.{}.{} {}", refusal.code, refusal.enhanced[0],
                                    refusal.enhanced[1], refusal.enhanced[2],
                                    VerificationCache::text_for(listed.answer, mailbox));
            std::ranges::replace(row.reply, '\n', ' ');
        }
    };
    if (!question.recipient.empty()) {
        const auto key = key_of(question.recipient);
        if (const auto known = key ? cache_->look_up(*key, worker_.now()) : std::nullopt) {
            add(*known);
        }
        return made;
    }
    std::vector<VerificationCache::Listed> page(question.limit);
    made.next = question.after;
    page.resize(cache_->list(made.next, page, worker_.now()));
    std::ranges::for_each(page, add);
    return made;
}

// What a backend is being asked may have been answered already, out of what is to be forgotten: who
// comes from now on asks anew.
CacheAnswer Verification::purge(const CacheQuestion& question) {
    CacheAnswer made;
    if (question.recipient.empty()) {
        made.purged = cache_->count();
        cache_->purge();
        open_.clear();
    } else if (const auto key = key_of(question.recipient)) {
        made.purged = cache_->purge(*key) ? 1 : 0;
        std::erase_if(open_, [&](const auto& open) { return open.first == *key; });
    }
    show_count();
    return made;
}

void Verification::show_count() {
    worker_.counters().verification_entries.set(
        cache_ == nullptr ? 0 : static_cast<std::int64_t>(cache_->count()));
}

std::optional<Verdict> Verification::find(const VerificationCache::Key& key,
                                          std::string_view mailbox) {
    const auto answer = cache_->find(key, worker_.now());
    if (!answer) {
        return std::nullopt;
    }
    Verdict verdict{
        answer->is_positive() ? VerificationResult::exists : VerificationResult::unknown, {}};
    if (!answer->is_positive()) {
        const auto& refusal = answer->refusal;
        verdict.reply.code = refusal.code;
        verdict.reply.enhanced = {static_cast<std::uint8_t>(refusal.enhanced[0]),
                                  refusal.enhanced[1], refusal.enhanced[2]};
        verdict.reply.text = VerificationCache::text_for(*answer, mailbox);
    }
    worker_.counters().verifications_cached[verdict.result].add();
    return verdict;
}

std::optional<Verdict> Verification::known(const Question& question) {
    if (cache_ == nullptr) {
        return std::nullopt;
    }
    const Pool& pool = *question.snapshot->pools[question.pool_index];
    return find(cache_->key_of(pool.settings().name, question.key), question.mailbox);
}

std::optional<Verdict> Verification::ask(const Question& question, Handle client,
                                         std::uint64_t ticket) {
    const Pool& pool = *question.snapshot->pools[question.pool_index];
    if (cache_ == nullptr) { // the route is of an earlier configuration
        return Verdict{};
    }
    const VerificationCache::Key key = cache_->key_of(pool.settings().name, question.key);
    if (std::optional<Verdict> verdict = find(key, question.mailbox)) {
        return verdict;
    }
    VerificationProbe* probe = question_about(key);
    if (probe == nullptr && !pool.settings().hold) {
        probe = probes_.create(worker_, *this, question.snapshot, question.pool_index, key,
                               question.mailbox, choice_key(hash_of(pool), question.key, {}, {}));
        if (probe != nullptr) {
            open_.emplace_back(key, probe->handle());
            worker_.advance_later(probe->exchange_id());
        }
    }
    if (probe == nullptr) {
        worker_.counters().verifications_asked[VerificationResult::unavailable].add();
        return Verdict{};
    }
    probe->askers().push_back({client, ticket});
    return std::nullopt;
}

VerificationProbe* Verification::question_about(const VerificationCache::Key& key) {
    const auto found = std::ranges::find(open_, key, [](const auto& open) { return open.first; });
    return found == open_.end() ? nullptr : probes_.find(found->second);
}

void Verification::answered(VerificationProbe& probe, VerificationResult result,
                            const smtp::Reply& reply) {
    const bool is_open =
        std::erase_if(open_, [&](const auto& open) { return open.second == probe.handle(); }) > 0;
    const bool is_kept = is_open && cache_ != nullptr;
    ended_.push_back(probe.handle());
    const VerificationSettings& times = probe.snapshot()->settings->verification;
    worker_.counters().verifications_asked[result].add();
    if (is_kept && result == VerificationResult::exists) {
        cache_->accept(probe.key(), worker_.now(), times.positive);
    } else if (is_kept && result == VerificationResult::unknown) {
        cache_->refuse(probe.key(), refusal_of(reply), probe.mailbox(), worker_.now(),
                       times.negative);
    }
    show_count();
    const Verdict verdict{result, smtp::OwnedReply(reply)};
    for (const VerificationProbe::Asker& asker : std::exchange(probe.askers(), {})) {
        if (ClientConnection* const client = worker_.clients().find(asker.client)) {
            client->recipient_verified(asker.ticket, verdict);
        }
    }
}

void Verification::cut() {
    probes_.for_each([](VerificationProbe& probe) { probe.give_up(); });
}

void Verification::reap() {
    for (const Handle handle : ended_) {
        probes_.destroy(*probes_.find(handle));
    }
    ended_.clear();
}

} // namespace ringmx::worker
