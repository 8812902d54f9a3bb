#include "sink/message_store.h"

#include "base/escape.h"
#include "record/record_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <unistd.h>
#include <utility>

namespace ringmx::sink {
namespace {

constexpr std::size_t gathered_bytes_max = 64 * 1024;

constexpr std::string_view body_text(smtp::BodyType body) {
    switch (body) {
    case smtp::BodyType::unstated:
        break;
    case smtp::BodyType::seven_bit:
        return "7BIT";
    case smtp::BodyType::eight_bit_mime:
        return "8BITMIME";
    }
    return "";
}

void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    append_json_text(out, text);
    out += '"';
}

// The sequence in "WW-NNNNNNNNNN.eml" of this worker; 0: another name.
std::uint64_t sequence_in(std::string_view name, std::string_view prefix) {
    if (!name.starts_with(prefix)) {
        return 0;
    }
    name.remove_prefix(prefix.size());
    std::uint64_t sequence = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), sequence);
    return error == std::errc() ? sequence : 0;
}

std::string name_of(unsigned worker, std::uint64_t sequence) {
    return fmt::format("{:02}-{:010}", worker, sequence);
}

int write_file(const std::string& path, std::string_view octets) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor < 0) {
        return errno;
    }
    const int error = write_whole(descriptor, octets) ? 0 : errno;
    ::close(descriptor);
    return error;
}

} // namespace

std::string StoredEnvelope::json() const {
    std::string out = "{\"mail_from\": ";
    append_quoted(out, mail_from);
    out += ", \"rcpt_to\": [";
    for (std::size_t index = 0; index < rcpt_to.size(); ++index) {
        out += index == 0 ? "" : ", ";
        append_quoted(out, rcpt_to[index]);
    }
    out += "], \"hello\": ";
    append_quoted(out, hello);
    out += fmt::format(", \"lmtp\": {}, \"chunking\": {}, \"body\": \"{}\", \"smtputf8\": {}}}\n",
                       lmtp, chunking, body_text(body), smtputf8);
    return out;
}

MessageStore::Draft::Draft(Draft&& other) noexcept { *this = std::move(other); }

MessageStore::Draft& MessageStore::Draft::operator=(Draft&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(gathered_, other.gathered_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(error_, other.error_);
    return *this;
}

MessageStore::Draft::~Draft() {
    if (descriptor_ >= 0) {
        ::close(descriptor_);
        ::unlink(path_.c_str());
    }
}

void MessageStore::Draft::append(Bytes octets) {
    gathered_.append(as_text(octets));
    if (gathered_.size() >= gathered_bytes_max) {
        write_gathered();
    }
}

void MessageStore::Draft::write_gathered() {
    if (error_ == 0 && !write_whole(descriptor_, gathered_)) {
        error_ = errno;
    }
    gathered_.clear();
}

Expected<MessageStore> MessageStore::open(const std::string& folder, unsigned worker) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
        return std::unexpected(Error{"create folder", error.value(), folder});
    }
    MessageStore store;
    store.folder_ = folder;
    store.worker_ = worker;
    const std::string prefix = fmt::format("{:02}-", worker);
    std::filesystem::directory_iterator entries(folder, error);
    for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
        const std::string name = entries->path().filename().string();
        store.next_ = std::max(store.next_, sequence_in(name, prefix) + 1);
    }
    if (error) {
        return std::unexpected(Error{"read folder", error.value(), folder});
    }
    return store;
}

Expected<MessageStore::Draft> MessageStore::begin() {
    Draft draft;
    draft.path_ =
        fmt::format("{}/.{:02}-{}.{}.part", folder_, worker_, ::getpid(), drafts_total_++);
    draft.descriptor_ = ::open(draft.path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (draft.descriptor_ < 0) {
        return std::unexpected(Error{"open", errno, draft.path_});
    }
    return draft;
}

Expected<std::string> MessageStore::keep(Draft draft, const StoredEnvelope& envelope) {
    draft.write_gathered();
    if (draft.error_ != 0) {
        return std::unexpected(Error{"write", draft.error_, draft.path_});
    }
    std::string name = name_of(worker_, next_);
    const std::string envelope_part = fmt::format("{}/.{}.envelope.part", folder_, name);
    if (const int error = write_file(envelope_part, envelope.json()); error != 0) {
        ::unlink(envelope_part.c_str());
        return std::unexpected(Error{"write", error, envelope_part});
    }
    const std::string envelope_path = fmt::format("{}/{}.envelope", folder_, name);
    const std::string path = fmt::format("{}/{}.eml", folder_, name);
    if (std::rename(envelope_part.c_str(), envelope_path.c_str()) != 0 ||
        std::rename(draft.path_.c_str(), path.c_str()) != 0) {
        return std::unexpected(Error{"rename", errno, path});
    }
    ::close(std::exchange(draft.descriptor_, -1));
    ++next_;
    return name;
}

} // namespace ringmx::sink
