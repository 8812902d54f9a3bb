#include "worker/content.h"

#include <algorithm>

namespace ringmx::worker {
namespace {

// Gathering memory grows with what has been gathered: a short message takes little, a long one few
// blocks.
std::size_t draft_bytes(std::size_t gathered, std::size_t needed) {
    const std::size_t wanted = std::clamp<std::size_t>(gathered, 1024, BufferPool::draft_bytes_max);
    return std::max(wanted, needed);
}

} // namespace

bool SliceList::append(BufferPool& pool, const Slice& whole, Bytes part) {
    if (part.empty()) {
        return true;
    }
    if (!slices_.empty() && slices_.back().extend(whole.block(), part)) {
        bytes_ += part.size();
        return true;
    }
    if (part.size() < shared_piece_bytes_min) {
        return append_copy(pool, part);
    }
    slices_.push_back(whole.share(part));
    bytes_ += part.size();
    return true;
}

bool SliceList::append_copy(BufferPool& pool, Bytes octets) {
    while (!octets.empty()) {
        if (draft_.room() == 0) {
            draft_ = pool.draft(
                draft_bytes(bytes_, std::min(octets.size(), BufferPool::draft_bytes_max)));
            if (!draft_) {
                return false;
            }
        }
        const Bytes part = octets.first(std::min(octets.size(), draft_.room()));
        draft_.append(part);
        Slice slice = draft_.take();
        if (slices_.empty() || !slices_.back().extend(slice.block(), slice.bytes())) {
            slices_.push_back(std::move(slice));
        }
        bytes_ += part.size();
        octets = octets.subspan(part.size());
    }
    return true;
}

void SliceList::drop_front(std::size_t count) {
    const auto end = slices_.begin() + static_cast<std::ptrdiff_t>(count);
    for (auto slice = slices_.begin(); slice != end; ++slice) {
        bytes_ -= slice->size();
    }
    slices_.erase(slices_.begin(), end);
    if (slices_.empty()) {
        draft_ = Draft(); // which may pin far more than what will be gathered next
    }
}

void SliceList::clear() {
    slices_.clear();
    draft_ = Draft();
    bytes_ = 0;
}

void Content::begin(WireForm form) {
    clear();
    form_ = form;
}

bool Content::append(BufferPool& pool, const Slice& whole, Bytes part) {
    return list_.append(pool, whole, part);
}

bool Content::append_copy(BufferPool& pool, Bytes octets) {
    return list_.append_copy(pool, octets);
}

void Content::clear() {
    list_.clear();
    dropped_bytes_ = 0;
    rewind();
}

void Content::rewind() {
    RINGMX_ASSERT(dropped_bytes_ == 0);
    cursor_ = {};
}

bool Content::take(BufferPool& pool, WireForm form, SliceList& out) {
    const std::vector<Slice>& slices = list_.slices();
    Cursor cursor = cursor_;
    bool complete = true;
    while (cursor.next < slices.size()) {
        const Slice& slice = slices[cursor.next];
        const Bytes part = slice.bytes().subspan(cursor.offset);
        const auto share = [&](Bytes octets) {
            complete = complete && out.append(pool, slice, octets);
        };
        if (form == form_) {
            share(part);
        } else if (form == WireForm::raw) {
            cursor.unstuffer.feed(part, share);
        } else {
            cursor.stuffer.feed(part, [&](Bytes octets, bool is_literal) {
                if (is_literal) {
                    complete = complete && out.append_copy(pool, octets);
                } else {
                    share(octets);
                }
            });
        }
        if (!complete) {
            return false;
        }
        cursor.taken_bytes += part.size();
        if (cursor.next + 1 == slices.size()) {
            cursor.offset = slice.size();
            break;
        }
        ++cursor.next;
        cursor.offset = 0;
    }
    cursor_ = cursor;
    return true;
}

std::string_view Content::terminator() const {
    // Stuffed content ends in CRLF by the way it came; raw content need not.
    return form_ == WireForm::stuffed ? std::string_view(".\r\n") : cursor_.stuffer.terminator();
}

void Content::drop_taken(bool is_memory_short) {
    if (cursor_.taken_bytes <= replayable_bytes_max && !is_memory_short) {
        return;
    }
    const std::vector<Slice>& slices = list_.slices();
    const bool is_next_taken =
        cursor_.next < slices.size() && cursor_.offset == slices[cursor_.next].size();
    const std::size_t held = list_.bytes();
    list_.drop_front(cursor_.next + (is_next_taken ? 1 : 0));
    dropped_bytes_ += held - list_.bytes();
    cursor_.next = 0;
    if (is_next_taken) {
        cursor_.offset = 0;
    }
}

void Content::compact(BufferPool& pool) {
    for (Slice& slice : list_.slices()) {
        if (!pool.unpin(slice)) {
            return;
        }
    }
}

} // namespace ringmx::worker
