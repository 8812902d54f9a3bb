#include "config/listening.h"

#include <string>

namespace ringmx::config {

namespace {

using simdjson::dom::element;

constexpr Choice<ListenerTls> listener_tls_choices[] = {{"starttls", ListenerTls::starttls},
                                                        {"implicit", ListenerTls::implicit, false},
                                                        {"none", ListenerTls::none},
                                                        {"required", ListenerTls::required, false}};
constexpr Choice<Acknowledge> acknowledge_choices[] = {
    {"spool", Acknowledge::spool},
    {"backend", Acknowledge::backend},
    {"backend_or_spool", Acknowledge::backend_or_spool, false}};
constexpr Choice<TlsVersion> version_choices[] = {{"1.2", TlsVersion::v1_2},
                                                  {"1.3", TlsVersion::v1_3}};

constexpr std::string_view expected_listen_address =
    "HOST:PORT or [V6]:PORT, with an IPv4 address or localhost as HOST";

void read_proxy_protocol(element value, const std::string& pointer, ListenerSettings& listener,
                         Faults& faults) {
    ObjectReader reader(faults, pointer, value);
    ProxyProtocolSettings& proxy = listener.proxy_protocol.emplace();
    reader.networks("trusted", proxy.trusted);
    reader.duration("timeout", proxy.timeout);
    reader.finish();
}

ListenerSettings read_listener(ObjectReader& reader, Faults& faults) {
    ListenerSettings listener;
    if (const auto address = read_listen_address(reader, "address")) {
        listener.address = *address;
    } else {
        static_cast<void>(reader.required("address", expected_listen_address));
    }
    reader.choice("tls", listener.tls, listener_tls_choices);
    reader.choice("acknowledge", listener.acknowledge, acknowledge_choices);
    reader.duration("handoff", listener.handoff);
    if (const auto proxy = reader.member("proxy_protocol")) {
        read_proxy_protocol(*proxy, reader.pointer("proxy_protocol"), listener, faults);
    }
    reader.finish();
    return listener;
}

void read_certificates(ObjectReader& tls, Settings& settings, const Sources& sources,
                       Faults& faults) {
    const auto elements = tls.array("certificates", "an array of certificates");
    if (!elements) {
        return;
    }
    std::size_t index = 0;
    for (const element value : *elements) {
        ObjectReader reader(faults, pointer_to(tls.pointer("certificates"), index), value);
        CertificateSettings certificate;
        for (const auto& [key, into] :
             {std::pair{"chain", &certificate.chain}, std::pair{"key", &certificate.key}}) {
            const bool is_there = reader.required(key, "a PEM file's path").has_value();
            reader.file(key, *into, sources.folder);
            std::string_view text;
            if (is_there && reader.member(key)->get(text) == simdjson::SUCCESS && text.empty()) {
                reader.fault(key, "found \"\", expected a PEM file's path");
            }
        }
        reader.file("ocsp", certificate.ocsp, sources.folder);
        reader.finish();
        settings.tls.certificates.push_back(std::move(certificate));
        ++index;
    }
    if (index > 0) {
        tls.fault("certificates", "TLS is not built yet: expected []");
    }
}

} // namespace

void read_listeners(ObjectReader& root, Settings& settings, Sources& sources, Faults& faults) {
    if (!root.member("listeners")) {
        for (const std::string_view address : {"127.0.0.1:2525", "[::1]:2525"}) {
            ListenerSettings listener;
            listener.address = SocketAddress::parse(address).value();
            sources.listener_indices.push_back(settings.listeners.size());
            settings.listeners.push_back(std::move(listener));
        }
        return;
    }
    const auto elements = root.array("listeners", "an array of listeners");
    if (!elements) {
        return;
    }
    std::size_t index = 0;
    for (const element value : *elements) {
        ObjectReader reader(faults, pointer_to(root.pointer("listeners"), index), value);
        settings.listeners.push_back(read_listener(reader, faults));
        sources.listener_indices.push_back(index);
        ++index;
    }
    if (index == 0) {
        root.fault("listeners", "found an empty array, expected at least one listener");
    }
}

void read_tls(element value, Settings& settings, const Sources& sources, Faults& faults) {
    constexpr std::size_t cipher_list_bytes_max = 4096;
    ObjectReader reader(faults, "/tls", value);
    read_certificates(reader, settings, sources, faults);
    reader.choice("minimum_version", settings.tls.minimum_version, version_choices);
    reader.line("ciphers", settings.tls.ciphers, cipher_list_bytes_max, true);
    for (const auto& [key, into] : {std::pair{"ticket_keys", &settings.tls.ticket_keys},
                                    std::pair{"client_ca", &settings.tls.client_ca}}) {
        reader.file(key, *into, sources.folder);
        if (!into->empty()) {
            reader.fault(key, "TLS is not built yet: expected \"\"");
        }
    }
    reader.finish();
}

std::optional<SocketAddress> parse_listen_address(std::string_view text) {
    constexpr std::string_view localhost = "localhost:";
    const bool is_localhost = text.starts_with(localhost);
    const std::string numeric = is_localhost
                                    ? "127.0.0.1:" + std::string(text.substr(localhost.size()))
                                    : std::string(text);
    auto address = SocketAddress::parse(numeric);
    if (!address || address->is_unix || address->port == 0) {
        return std::nullopt;
    }
    return address;
}

std::optional<SocketAddress> read_listen_address(ObjectReader& reader, std::string_view key) {
    const auto text = reader.text(key, expected_listen_address);
    if (!text) {
        return std::nullopt;
    }
    auto address = parse_listen_address(*text);
    if (!address) {
        reader.fault(key, "found " + echoed(*text) + ", expected " +
                              std::string(expected_listen_address));
    }
    return address;
}

} // namespace ringmx::config
