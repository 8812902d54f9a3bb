#include "base/error.h"

#include <system_error>

namespace ringmx {

std::string Error::message() const {
    std::string text = operation;
    if (!subject.empty()) {
        text += ' ';
        text += subject;
    }
    if (code != 0) {
        text += ": ";
        text += std::error_code(code, std::generic_category()).message();
    }
    return text;
}

} // namespace ringmx
