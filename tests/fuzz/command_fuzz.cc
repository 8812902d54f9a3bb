// Any line gives the same verdict wherever its memory lies, and what is accepted keeps the
// grammar's promises: views lie inside the line, mailboxes hold no control and no blank outside of
// quotes, sizes are numbers.
#include "base/assert.h"
#include "smtp/command.h"
#include "smtp/xtext.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

using namespace ringmx::smtp;

bool lies_in(std::string_view part, std::string_view whole) {
    return part.empty() || (part.data() >= whole.data() &&
                            part.data() + part.size() <= whole.data() + whole.size());
}

bool has_control(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char octet) {
        return static_cast<unsigned char>(octet) < 0x20 || octet == 0x7f;
    });
}

void check_parameters(const RecipientParameters& parameters, std::string_view argument,
                      Extensions known) {
    const std::string_view original = parameters.original_recipient;
    RINGMX_ASSERT(known.dsn || (parameters.notify == 0 && original.empty()));
    RINGMX_ASSERT(parameters.notify == notify_never || (parameters.notify & notify_never) == 0);
    RINGMX_ASSERT(lies_in(original, argument));
    if (original.empty()) {
        return;
    }
    RINGMX_ASSERT(is_original_recipient(original, known.smtputf8) && is_utf8(original));
    RINGMX_ASSERT(!has_control(decode_xtext(original)));
    const std::string ascii = ascii_original_recipient(original);
    RINGMX_ASSERT(ascii.size() > original_recipient_bytes_max ||
                  is_original_recipient(ascii, false));
}

void check_arguments(std::string_view argument) {
    for (const Extensions known :
         {Extensions{false, false}, {true, false}, {false, true}, {true, true}}) {
        if (const auto mail = parse_mail(argument, known)) {
            RINGMX_ASSERT(lies_in(mail->reverse_path, argument) &&
                          !has_control(mail->reverse_path) && is_utf8(mail->reverse_path));
            RINGMX_ASSERT(known.smtputf8 || !mail->smtputf8);
            RINGMX_ASSERT(lies_in(mail->envelope_id, argument));
            RINGMX_ASSERT(mail->envelope_id.empty() || is_envelope_id(mail->envelope_id));
            RINGMX_ASSERT(!has_control(decode_xtext(mail->envelope_id)));
            RINGMX_ASSERT(known.dsn || (mail->envelope_id.empty() &&
                                        mail->return_content == ReturnContent::unstated));
        } else {
            RINGMX_ASSERT(mail.error().severity() == 5);
        }
        if (const auto recipient = parse_recipient(argument, known)) {
            RINGMX_ASSERT(!recipient->mailbox.empty() && lies_in(recipient->mailbox, argument) &&
                          !has_control(recipient->mailbox) && is_utf8(recipient->mailbox));
            check_parameters(recipient->parameters, argument, known);
        } else {
            RINGMX_ASSERT(recipient.error().severity() == 5);
        }
    }
    (void)parse_chunk(argument);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view line(reinterpret_cast<const char*>(data), size);
    if (const auto command = parse_command(line)) {
        RINGMX_ASSERT(lies_in(command->argument, line));
        check_arguments(command->argument);
    }
    check_arguments(line);
    return 0;
}
