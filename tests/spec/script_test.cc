// The fixture's own expect, allow and disallow; and orders of signals that they tell best.
#include <gtest/gtest-spi.h>

#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

TEST(Script, SaysWhatIsWrong) {
  Script script;
  EXPECT_EQ(script.receive("anything"), "");
  script.disallow("EXIT *");
  EXPECT_EQ(script.receive("anything"), "");
  EXPECT_EQ(script.receive("EXIT normal"), "\"EXIT normal\" is not allowed");
  script.expect("one").expect("two").allow("noise*");
  EXPECT_EQ(script.receive("noise 1"), "");
  EXPECT_EQ(script.receive("two"), "\"two\" comes, and expected is \"one\"");
  EXPECT_EQ(script.receive("one"), "");
  EXPECT_EQ(script.receive("one"), "\"one\" comes, and expected is \"two\"");
  EXPECT_EQ(script.missing().size(), 1u);
  EXPECT_EQ(script.receive("two"), "");
  EXPECT_EQ(script.receive("two"), "\"two\" comes, and expected is nothing");
  EXPECT_EQ(script.receive("noise 2"), "");
  EXPECT_TRUE(script.missing().empty());
}

TEST(Script, WhatIsMissingOrTooMuchFailsTheTest) {
  const auto missing = [] {
    World world(1, false);
    world.script(world.puppet(world.here())).expect("never sent");
  };
  EXPECT_NONFATAL_FAILURE(missing(), "did not receive what was expected");
  const auto too_much = [] {
    World world(1, false);
    const Pid a = world.puppet(world.here());
    world.script(a).expect("one");
    world.send(a, a, "one");
    world.send(a, a, "two");
    world.run();
  };
  EXPECT_NONFATAL_FAILURE(too_much(), "expected is nothing");
}

TEST(S, Case3_WhatWasSentBeforeTheEndComesBeforeItsExitAndNothingAfter) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.there());
    const Pid other = w.puppet(w.here());
    w.script(b).expect("1").expect("2").expect("3").expect("EXIT done").allow("noise").disallow("4");
    w.tell(b, [a](Self& self) {
      self.trap_exit(true);
      self.link(a);
    });
    w.run();
    w.send(other, b, "noise");
    w.send(a, b, "1");
    w.send(a, b, "2");
    w.send(a, b, "3");
    w.tell_end(a, ExitReason::other("done"));
    w.send(a, b, "4");
    w.send(other, b, "noise");
    w.run();
  });
}

}  // namespace
}  // namespace rusm::otp::spec
