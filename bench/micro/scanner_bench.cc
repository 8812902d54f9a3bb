// How fast message octets are looked at: scanners, dot-stuffing, checksum. Throughput is octets of
// input.
//
//   scanner_bench --benchmark_filter=Data     one group only
#include "base/crc32c.h"
#include "smtp/data_scanner.h"
#include "smtp/data_scanner_normalizing.h"
#include "smtp/dot_stuffing.h"
#include "smtp/header_scanner.h"
#include "smtp/newline_scanner.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>

namespace {

using namespace ringmx;
using namespace ringmx::smtp;

enum class Text { mail, dotted, lone_dots, bare, nuls };

// Lines of about 72 octets, as mail has them; or with a dot before each, nothing but dots, bare
// newlines, NULs.
std::string make_text(std::size_t bytes, Text kind) {
    std::string text;
    for (std::size_t line = 0; text.size() < bytes; ++line) {
        if (kind == Text::lone_dots) {
            text += "..\r\n";
            continue;
        }
        text += kind == Text::dotted ? ".." : "";
        text.append(66 + line % 9, static_cast<char>('a' + line % 26));
        text += kind == Text::nuls ? std::string(1, '\0') : "";
        text += kind == Text::bare ? "\n" : "\r\n";
    }
    text.resize(bytes);
    return text;
}

void count_bytes(benchmark::State& state, const std::string& text) {
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                            static_cast<std::int64_t>(text.size()));
}

template <Text kind, DataScan (DataScanner::*scan)(Bytes)> void data(benchmark::State& state) {
    const std::string text = make_text(static_cast<std::size_t>(state.range(0)), kind);
    for (auto _ : state) {
        DataScanner scanner;
        benchmark::DoNotOptimize((scanner.*scan)(as_bytes(text)));
        benchmark::DoNotOptimize(scanner.counts());
    }
    count_bytes(state, text);
}

template <Text kind, void (NewlineScanner::*scan)(Bytes)> void chunk(benchmark::State& state) {
    const std::string text = make_text(static_cast<std::size_t>(state.range(0)), kind);
    for (auto _ : state) {
        NewlineScanner scanner;
        (scanner.*scan)(as_bytes(text));
        benchmark::DoNotOptimize(scanner);
    }
    count_bytes(state, text);
}

template <Text kind> void normalize(benchmark::State& state) {
    const std::string text = make_text(static_cast<std::size_t>(state.range(0)), kind);
    for (auto _ : state) {
        NormalizingScanner scanner(ContentForm::dot_stuffed);
        for (Bytes rest = as_bytes(text); !rest.empty();) {
            const auto piece = scanner.next(rest);
            rest = rest.subspan(piece.consumed);
            benchmark::DoNotOptimize(piece);
        }
    }
    count_bytes(state, text);
}

template <Text kind> void stuff(benchmark::State& state) {
    const std::string text = make_text(static_cast<std::size_t>(state.range(0)), kind);
    for (auto _ : state) {
        Stuffer stuffer;
        stuffer.feed(as_bytes(text), [](Bytes part, bool) { benchmark::DoNotOptimize(part); });
        benchmark::DoNotOptimize(stuffer.terminator());
    }
    count_bytes(state, text);
}

void header(benchmark::State& state) {
    std::string text;
    while (text.size() < static_cast<std::size_t>(state.range(0))) {
        text += "Received: from a.example by b.example with ESMTPS id 1;\r\n\tMon, 2 Jan 2006\r\n";
        text += "X-Field: some value of a usual length, with blanks in it\r\n";
    }
    for (auto _ : state) {
        HeaderScanner scanner(ContentForm::dot_stuffed);
        scanner.scan(as_bytes(text));
        benchmark::DoNotOptimize(scanner.received_fields_count());
    }
    count_bytes(state, text);
}

template <std::uint32_t (*checksum)(std::uint32_t, Bytes)> void crc(benchmark::State& state) {
    const std::string text = make_text(static_cast<std::size_t>(state.range(0)), Text::mail);
    for (auto _ : state) {
        benchmark::DoNotOptimize(checksum(0, as_bytes(text)));
    }
    count_bytes(state, text);
}

constexpr std::int64_t small = 4 * 1024;
constexpr std::int64_t buffer = 64 * 1024; // a receive buffer
constexpr std::int64_t large = 1024 * 1024;

// NOLINTBEGIN: the names are what the report shows.
BENCHMARK(data<Text::mail, &DataScanner::scan_fast>)
    ->Name("Data/mail")
    ->Arg(512)
    ->Arg(small)
    ->Arg(buffer)
    ->Arg(large);
BENCHMARK(data<Text::mail, &DataScanner::scan_plain>)->Name("Data/mail/plain")->Arg(buffer);
BENCHMARK(data<Text::dotted, &DataScanner::scan_fast>)->Name("Data/dotted")->Arg(buffer);
BENCHMARK(data<Text::lone_dots, &DataScanner::scan_fast>)->Name("Data/lone_dots")->Arg(buffer);
BENCHMARK(data<Text::bare, &DataScanner::scan_fast>)->Name("Data/bare")->Arg(buffer);
BENCHMARK(data<Text::nuls, &DataScanner::scan_fast>)->Name("Data/nuls")->Arg(buffer);
BENCHMARK(chunk<Text::mail, &NewlineScanner::scan_fast>)
    ->Name("Chunk/mail")
    ->Arg(small)
    ->Arg(buffer)
    ->Arg(large);
BENCHMARK(chunk<Text::mail, &NewlineScanner::scan_plain>)->Name("Chunk/mail/plain")->Arg(buffer);
BENCHMARK(chunk<Text::bare, &NewlineScanner::scan_fast>)->Name("Chunk/bare")->Arg(buffer);
BENCHMARK(normalize<Text::mail>)->Name("Normalize/mail")->Arg(buffer);
BENCHMARK(normalize<Text::bare>)->Name("Normalize/bare")->Arg(buffer);
BENCHMARK(stuff<Text::mail>)->Name("Stuff/mail")->Arg(small)->Arg(buffer)->Arg(large);
BENCHMARK(stuff<Text::dotted>)->Name("Stuff/dotted")->Arg(buffer);
BENCHMARK(stuff<Text::lone_dots>)->Name("Stuff/lone_dots")->Arg(buffer);
BENCHMARK(header)->Name("Header")->Arg(small)->Arg(buffer);
BENCHMARK(crc<&crc32c>)->Name("Crc32c")->Arg(small)->Arg(buffer)->Arg(large);
BENCHMARK(crc<&crc32c_plain>)->Name("Crc32c/plain")->Arg(buffer);
// NOLINTEND

} // namespace
