#include "serve/router.h"

#include <gtest/gtest.h>

namespace rusm::serve {
namespace {

// "3", "3 id=7", "404", "405 GET, HEAD".
std::string find(const Router& router, std::string_view method, std::string_view target) {
  const Router::Match match = router.find(method, target);
  if (match.status == 405) return "405 " + match.allow;
  if (match.status != 200) return std::to_string(match.status);
  std::string text = std::to_string(match.target);
  for (std::size_t i = 0; i < match.params.size(); ++i) {
    text += " " + std::string(match.params[i].name) + "=" + std::string(match.params[i].value);
  }
  return text;
}

Router make(std::initializer_list<std::string_view> patterns) {
  Router router;
  std::uint32_t target = 0;
  for (const std::string_view pattern : patterns) {
    const Result<> added = router.add(pattern, target++);
    EXPECT_TRUE(added) << (added ? "" : added.error().to_string());
  }
  return router;
}

TEST(Router, LiteralBeatsParameterBeatsRest) {
  const Router router = make({"GET /users/*", "GET /users/:id", "GET /users/me", "GET /users/:id/posts/:post"});
  EXPECT_EQ(find(router, "GET", "/users/me"), "2");
  EXPECT_EQ(find(router, "GET", "/users/7"), "1 id=7");
  EXPECT_EQ(find(router, "GET", "/users/7/posts/9?x=/1"), "3 id=7 post=9");
  EXPECT_EQ(find(router, "GET", "/users/7/other/9"), "0 *=7/other/9");
  EXPECT_EQ(find(router, "GET", "/users/"), "0 *=");
  EXPECT_EQ(find(router, "GET", "/users"), "404");
  EXPECT_EQ(find(router, "GET", "/users/me/posts/1"), "3 id=me post=1") << "a literal that leads nowhere gives way";
}

TEST(Router, TheRootAndEverything) {
  const Router router = make({"GET /", "/*"});
  EXPECT_EQ(find(router, "GET", "/"), "0");
  EXPECT_EQ(find(router, "POST", "/"), "1 *=");
  EXPECT_EQ(find(router, "DELETE", "/a/b"), "1 *=a/b");
  EXPECT_EQ(find(router, "OPTIONS", "*"), "404");
}

TEST(Router, MethodsDecideLast) {
  const Router router = make({"GET /a/b", "POST /a/:x", "PUT /a/:x"});
  EXPECT_EQ(find(router, "GET", "/a/b"), "0");
  EXPECT_EQ(find(router, "POST", "/a/b"), "1 x=b") << "the literal has no POST";
  EXPECT_EQ(find(router, "DELETE", "/a/b"), "405 GET, HEAD, POST, PUT");
  EXPECT_EQ(find(router, "get", "/a/b"), "405 GET, HEAD, POST, PUT") << "methods are case-sensitive";
  EXPECT_EQ(find(router, "GET", "/a/c"), "405 POST, PUT");
  EXPECT_EQ(find(router, "GET", "/c"), "404");
}

TEST(Router, HeadFallsToGet) {
  const Router router = make({"GET /a", "GET /b", "HEAD /b", "POST /c"});
  EXPECT_EQ(find(router, "HEAD", "/a"), "0");
  EXPECT_EQ(find(router, "HEAD", "/b"), "2");
  EXPECT_EQ(find(router, "HEAD", "/c"), "405 POST");
}

TEST(Router, SegmentsAreDecodedAfterTheyAreSplit) {
  const Router router = make({"GET /ab/:x", "GET /files/*"});
  EXPECT_EQ(find(router, "GET", "/%61b/c%2Fd%20e"), "0 x=c/d e");
  EXPECT_EQ(find(router, "GET", "/files/a%2Fb/c"), "1 *=a%2Fb/c");
}

TEST(Router, RefusesPathsThatMeanSomethingElse) {
  const Router router = make({"GET /*"});
  for (const std::string_view path :
       {"/..", "/a/../b", "/a/.", "/%2e%2E/x", "/.%2e", "/a%", "/a%4", "/a%zz", "/a%00b"}) {
    EXPECT_EQ(find(router, "GET", path), "400") << path;
  }
  EXPECT_EQ(find(router, "GET", "/a?x=../%zz"), "0 *=a") << "the query is the handler's";
  EXPECT_EQ(find(router, "GET", "/..."), "0 *=...");
}

TEST(Router, EmptySegmentsMatchNoParameter) {
  const Router router = make({"GET /a/:x/b"});
  EXPECT_EQ(find(router, "GET", "/a//b"), "404");
  EXPECT_EQ(find(router, "GET", "/a/1/b/"), "404");
}

TEST(Router, NamesWhatIsWrongWithAPattern) {
  Router router;
  for (const std::string_view pattern : {"", "GET", "GET users", "G{T /", "GET /a b", "GET /*/a",
                                         "GET /:", "GET /:a/:a", "GET /a?b", "GET /../a", "GET /%61"}) {
    const Result<> added = router.add(pattern, 0);
    ASSERT_FALSE(added) << pattern;
    EXPECT_EQ(added.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(added.error().where, pattern);
  }
  ASSERT_TRUE(router.add("GET /u/:id", 0));
  const Result<> again = router.add("GET /u/:name", 1);
  ASSERT_FALSE(again) << "they would take the same requests";
  EXPECT_EQ(again.error().code, ErrorCode::kExists);
}

}  // namespace
}  // namespace rusm::serve
