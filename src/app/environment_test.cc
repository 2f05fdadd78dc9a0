#include "app/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace rusm::app {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

std::string file_with(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/environment_test.env";
  std::ofstream(path) << text;
  return path;
}

std::optional<std::string> own(std::string_view name) {
  return name == "OWN" ? std::optional<std::string>("here") : std::nullopt;
}

TEST(EnvironmentTest, ReadsFiles) {
  Environment environment(own);
  ASSERT_TRUE(
      environment.add_file(file_with("# comment\n\nA=1\n export B = \"two words\" \nC='x'\nD=a=b\nOWN=other\nE=\n")));
  EXPECT_EQ(environment.find("A"), "1");
  EXPECT_EQ(environment.find("B"), "two words");
  EXPECT_EQ(environment.find("C"), "x");
  EXPECT_EQ(environment.find("D"), "a=b");
  EXPECT_EQ(environment.find("E"), "");
  EXPECT_EQ(environment.find("OWN"), "here") << "the program's own value wins";
  EXPECT_EQ(environment.find("F"), std::nullopt);
}

TEST(EnvironmentTest, AMissingFileAddsNothing) {
  Environment environment(own);
  EXPECT_TRUE(environment.add_file("/nonexistent/.env"));
}

TEST(EnvironmentTest, AWrongLineIsNamed) {
  Environment environment(own);
  const std::string path = file_with("A=1\nnonsense\n");
  const Result<> result = environment.add_file(path);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().where, path + ":2");
}

TEST(EnvironmentTest, GrantsOnlyWhatIsListed) {
  Environment environment(own);
  ASSERT_TRUE(environment.add_file(file_with("A=1\nSECRET=2\n")));
  std::vector<std::string> missing;
  EXPECT_THAT(environment.resolve({"OWN", "A", "SET=x=y", "GONE"}, &missing),
              ElementsAre(Pair("OWN", "here"), Pair("A", "1"), Pair("SET", "x=y")));
  EXPECT_THAT(missing, ElementsAre("GONE"));
}

}  // namespace
}  // namespace rusm::app
