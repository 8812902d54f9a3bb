// A waker that a test waits for.
#pragma once

#include "ring/port.h"

#include <gtest/gtest.h>
#include <semaphore>

namespace ringmx {

class WaitWaker final : public ring::Waker {
  public:
    void wake() override { wakes_.release(); }
    // Until `done`, looking at each wake. False: it did not come to that, in generous time.
    template <typename Done> [[nodiscard]] bool wait_until(Done done) {
        while (!done()) {
            if (!wakes_.try_acquire_for(60s)) {
                return done();
            }
        }
        return true;
    }

  private:
    std::counting_semaphore<> wakes_{0};
};

} // namespace ringmx
