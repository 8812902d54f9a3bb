// The least config without a fault, with more keys put into its root.
#pragma once

#include "config/config.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace ringmx::config {

inline std::string minimal(const std::string& more_keys = "") {
    return R"({"listeners": [{"address": "127.0.0.1:2525", "acknowledge": "backend"}],
               "routes": [{"recipients": ["*"], "pool": "main"}],
               "pools": {"main": {"backends": [{"address": "127.0.0.1:2526"}]}})" +
           (more_keys.empty() ? "" : ", " + more_keys) + "}";
}

inline std::string faults_of(const std::string& json) {
    std::string out;
    for (const Fault& fault : parse(json, "/etc/ringmx", Files::are_left).faults) {
        out += (out.empty() ? "" : "\n") + fault.pointer + ": " + fault.text;
    }
    return out;
}

// The settings of a text without faults.
inline std::shared_ptr<const Settings> good(const std::string& json) {
    Loaded loaded = parse(json, "/etc/ringmx", Files::are_left);
    EXPECT_EQ(report("", loaded.faults), ": 0 faults, not started\n") << json;
    return loaded.settings == nullptr ? std::make_shared<Settings>() : loaded.settings;
}

} // namespace ringmx::config
