// Runs a fuzz target without a fuzzer: every file of the corpus folders given, then mutations of
// them from a fixed seed.
//
//   fuzz_NAME FOLDER-OR-FILE…      the files, then RINGMX_FUZZ_MUTATIONS (default 2,000) mutations
//
// The same corpus gives the same inputs on every machine, so running it again is the reproduction
// of a failure: a file's name is printed before it runs, and a mutation that fails is one of a run
// that `cmake --preset fuzz` narrows down.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t input_bytes_max = 64UL * 1024;
constexpr std::uint64_t seed = 0x5eed'0001;

// SplitMix64: the sequence must not depend on the standard library's version.
std::uint64_t next_random(std::uint64_t& state) {
    state += 0x9e37'79b9'7f4a'7c15U;
    std::uint64_t value = state;
    value = (value ^ (value >> 30U)) * 0xbf58'476d'1ce4'e5b9U;
    value = (value ^ (value >> 27U)) * 0x94d0'49bb'1331'11ebU;
    return value ^ (value >> 31U);
}

// What the grammars of this field turn on: line ends, dots, blanks, separators, the ends of the
// octet's range.
constexpr std::uint8_t telling[] = {'\r', '\n', '.',  ' ', '\t', ':', '<',  '>',  '@',
                                    '-',  '"',  '\\', '0', '9',  0,   0x7f, 0x80, 0xff};

void mutate(Input& input, const std::vector<Input>& corpus, std::uint64_t& state) {
    const auto position = [&] {
        return static_cast<std::ptrdiff_t>(next_random(state) % (input.size() + 1));
    };
    const auto range = [&] {
        const std::ptrdiff_t one = position();
        const std::ptrdiff_t other = position();
        return std::pair{std::min(one, other), std::max(one, other)};
    };
    const std::uint64_t kind = next_random(state) % 6;
    const auto octet = next_random(state) % 2 == 0
                           ? telling[next_random(state) % std::size(telling)]
                           : static_cast<std::uint8_t>(next_random(state));
    if (kind == 0 || input.empty()) {
        input.insert(input.begin() + position(), octet);
    } else if (kind == 1) {
        input[next_random(state) % input.size()] = octet;
    } else if (kind == 2) {
        const auto [first, last] = range();
        input.erase(input.begin() + first, input.begin() + std::min(last, first + 16));
    } else if (kind == 3) {
        const auto [first, last] = range();
        const Input piece(input.begin() + first, input.begin() + last);
        input.insert(input.begin() + position(), piece.begin(), piece.end());
    } else if (kind == 4) {
        const Input& other = corpus[next_random(state) % corpus.size()];
        input.resize(static_cast<std::size_t>(position()));
        input.insert(input.end(),
                     other.begin() +
                         static_cast<std::ptrdiff_t>(next_random(state) % (other.size() + 1)),
                     other.end());
    } else {
        input[next_random(state) % input.size()] ^=
            static_cast<std::uint8_t>(1U << (next_random(state) % 8));
    }
    if (input.size() > input_bytes_max) {
        input.resize(input_bytes_max);
    }
}

Input read_input(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::filesystem::path> files_of(int count, char** arguments) {
    std::vector<std::filesystem::path> paths;
    for (int index = 1; index < count; ++index) {
        const std::filesystem::path path = arguments[index];
        if (std::filesystem::is_regular_file(path)) {
            paths.push_back(path);
        } else if (std::filesystem::is_directory(path)) {
            for (const auto& entry : std::filesystem::directory_iterator(path)) {
                paths.push_back(entry.path());
            }
        }
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

} // namespace

int main(int count, char** arguments) {
    std::vector<Input> corpus = {Input{}};
    for (const auto& path : files_of(count, arguments)) {
        corpus.push_back(read_input(path));
        std::fprintf(stderr, "replay %s\n", path.c_str());
        LLVMFuzzerTestOneInput(corpus.back().data(), corpus.back().size());
    }
    if (corpus.size() == 1) {
        std::fprintf(stderr, "no corpus: name a folder or files\n");
        return 1;
    }
    const char* wanted = std::getenv("RINGMX_FUZZ_MUTATIONS");
    const unsigned long mutations = wanted == nullptr ? 2000 : std::strtoul(wanted, nullptr, 10);
    std::uint64_t state = seed;
    for (unsigned long number = 0; number < mutations; ++number) {
        Input input = corpus[next_random(state) % corpus.size()];
        for (std::uint64_t step = next_random(state) % 8; step < 8; ++step) {
            mutate(input, corpus, state);
        }
        // Exactly as large as the input, so that ASan sees a read past it.
        input.shrink_to_fit();
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    std::fprintf(stderr, "%zu inputs and %lu mutations\n", corpus.size() - 1, mutations);
    return 0;
}
