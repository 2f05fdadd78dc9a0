// Publish and subscribe.
#include "otp/pubsub.h"

#include "otp/match.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(PubSub, ASubscriberReceivesWhatIsPublishedInItsOrderUntilItLeaves) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    const Pid c = w.puppet(w.here());
    for (const Pid p : {a, b}) {
      w.tell(p, [](Self& self) {
        EXPECT_TRUE(subscribe(self, "news"));
        EXPECT_EQ(subscribe(self, "news").error().code, ErrorCode::kExists);
      });
    }
    w.run();
    w.tell(c, [](Self& self) {
      EXPECT_EQ(publish(self, "news", "one"), 2u);
      EXPECT_EQ(publish(self, "news", 2), 2u);
      EXPECT_EQ(publish(self, "other", "nobody"), 0u);
    });
    w.run();
    w.tell(b, [](Self& self) { EXPECT_TRUE(unsubscribe(self, "news")); });
    w.run();
    w.tell(a, [](Self& self) { EXPECT_EQ(publish(self, "news", "three"), 1u); });
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("one", "value", "three"));
    EXPECT_THAT(w.seen(b), ElementsAre("one", "value"));
    EXPECT_THAT(w.seen(c), IsEmpty());
  });
}

TEST(PubSub, ASubscriptionEndsWithItsProcess) {
  for_seeds(On::kOneNode, [](World& w) {
    const Pid a = w.puppet(w.here());
    const Pid b = w.puppet(w.here());
    w.tell(a, [](Self& self) { EXPECT_TRUE(subscribe(self, "news")); });
    w.run();
    w.tell_end(a, ExitReason::Kind::kNormal);
    w.run();
    w.tell(b, [](Self& self) {
      EXPECT_EQ(publish(self, "news", "one"), 0u);
      EXPECT_FALSE(subscribe(self, "").has_value());
    });
    w.run();
  });
}

TEST(PubSub, LargeValuesAreShared) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto text = std::make_shared<const std::string>(100'000, 'x');
    const Pid a = w.puppet(w.here());
    w.tell(a, [](Self& self) { EXPECT_TRUE(subscribe(self, "news")); });
    w.run();
    w.tell(w.puppet(w.here()), [text](Self& self) { EXPECT_EQ(publish(self, "news", text), 1u); });
    w.run();
    EXPECT_THAT(w.seen(a), ElementsAre("value"));
  });
}

}  // namespace
}  // namespace rusm::otp::spec
