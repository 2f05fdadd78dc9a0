#include "serve/http1_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/entropy.h"
#include "serve/chunked_decoder.h"

namespace rusm::serve {
namespace {

using Progress = RequestParser::Progress;

// What came of a text: a status of 0 means that it is a request.
struct Outcome {
  int status = -1;  // still incomplete
  std::string method, target, authority;
  std::vector<std::pair<std::string, std::string>> headers;
  std::size_t head_bytes = 0;
  BodyFraming framing = BodyFraming::kNone;
  bool keep_alive = false;
  bool operator==(const Outcome&) const = default;
};

// Feeds `text` up to each of the ends in turn.
Outcome parse_in_pieces(std::string_view text, const std::vector<std::size_t>& ends, const HeadLimits& limits = {}) {
  RequestParser parser(limits);
  Outcome outcome;
  for (const std::size_t end : ends) {
    // A copy of its own: the parser must not keep pointers into an earlier input.
    const std::string input(text.substr(0, end));
    const Progress progress = parser.parse(input);
    if (progress == Progress::kMore) continue;
    if (progress == Progress::kRefused) {
      outcome.status = parser.refusal().status;
      EXPECT_FALSE(parser.refusal().reason.empty());
      return outcome;
    }
    outcome.status = 0;
    http::RequestHead& head = parser.head();
    outcome.method = head.method;
    outcome.target = head.target;
    outcome.authority = head.authority;
    for (std::size_t i = 0; i < head.headers.size(); ++i) {
      outcome.headers.emplace_back(head.headers[i].name, head.headers[i].value);
    }
    outcome.head_bytes = parser.head_bytes();
    outcome.framing = parser.framing();
    outcome.keep_alive = parser.keep_alive();
    return outcome;
  }
  return outcome;
}

Outcome parse_whole(std::string_view text, const HeadLimits& limits = {}) {
  return parse_in_pieces(text, {text.size()}, limits);
}

int status_of(std::string_view text) {
  return parse_whole(text).status;
}

std::string request_with(std::string_view lines) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(lines) + "\r\n";
}

TEST(RequestParser, ReadsARequest) {
  const std::string_view text =
      "GET /users/7?full=1 HTTP/1.1\r\nHost: example.com:8080\r\nAccept:  */* \r\nX-Empty:\r\n\r\nrest";
  const Outcome outcome = parse_whole(text);
  ASSERT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.method, "GET");
  EXPECT_EQ(outcome.target, "/users/7?full=1");
  EXPECT_EQ(outcome.authority, "example.com:8080");
  ASSERT_EQ(outcome.headers.size(), 3u);
  EXPECT_EQ(outcome.headers[1], (std::pair<std::string, std::string>("Accept", "*/*")));
  EXPECT_EQ(outcome.headers[2], (std::pair<std::string, std::string>("X-Empty", "")));
  EXPECT_EQ(text.substr(outcome.head_bytes), "rest");
  EXPECT_TRUE(outcome.keep_alive);
}

TEST(RequestParser, FramesBodies) {
  EXPECT_EQ(parse_whole(request_with("")).framing, BodyFraming::kNone);
  EXPECT_EQ(parse_whole(request_with("Content-Length: 0\r\n")).framing, BodyFraming::kNone);
  EXPECT_EQ(parse_whole(request_with("Content-Length: 007\r\n")).framing, BodyFraming::kLength);
  EXPECT_EQ(parse_whole(request_with("Transfer-Encoding: Chunked\r\n")).framing, BodyFraming::kChunked);
}

TEST(RequestParser, KnowsWhetherTheConnectionGoesOn) {
  EXPECT_FALSE(parse_whole(request_with("Connection: Foo, Close\r\n")).keep_alive);
  EXPECT_TRUE(parse_whole(request_with("Connection: upgrade\r\n")).keep_alive);
  EXPECT_FALSE(parse_whole("GET / HTTP/1.0\r\n\r\n").keep_alive);
  EXPECT_TRUE(parse_whole("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
}

TEST(RequestParser, TakesTheFormsOfATarget) {
  const Outcome absolute = parse_whole("GET HTTP://b:81?q HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(absolute.authority, "b:81") << "RFC 9112 §3.2.2: it replaces Host";
  EXPECT_EQ(absolute.target, "/?q");
  EXPECT_EQ(parse_whole("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").target, "*");
  EXPECT_EQ(status_of("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(status_of("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
}

TEST(RequestParser, IgnoresOneEmptyLineBeforeARequest) {
  EXPECT_EQ(status_of("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
  EXPECT_EQ(status_of("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  const HeadLimits limits;
  RequestParser parser(limits);
  EXPECT_EQ(parser.parse("\r\n"), Progress::kMore);
  EXPECT_FALSE(parser.begun());
}

TEST(RequestParser, ExpectContinueNeedsABody) {
  const HeadLimits limits;
  RequestParser with_body(limits);
  ASSERT_EQ(with_body.parse(request_with("Content-Length: 1\r\nExpect: 100-Continue\r\n")), Progress::kDone);
  EXPECT_TRUE(with_body.expects_continue());
  RequestParser without(limits);
  ASSERT_EQ(without.parse(request_with("Expect: 100-continue\r\n")), Progress::kDone);
  EXPECT_FALSE(without.expects_continue());
}

struct BadRequest {
  const char* name;
  std::string text;
  int status;
};
void PrintTo(const BadRequest& bad, std::ostream* out) {
  *out << bad.name;
}

class RefusedRequest : public testing::TestWithParam<BadRequest> {};

TEST_P(RefusedRequest, IsRefusedHoweverItIsCut) {
  const auto& [name, text, status] = GetParam();
  EXPECT_EQ(status_of(text), status) << text;
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    EXPECT_EQ(parse_in_pieces(text, {cut, text.size()}).status, status) << "cut at " << cut;
  }
}

const std::string kNul(1, '\0');

INSTANTIATE_TEST_SUITE_P(
    Parser, RefusedRequest,
    testing::Values(
        BadRequest{"TwoContentLengths", request_with("Content-Length: 1\r\nContent-Length: 2\r\n"), 400},
        BadRequest{"TwoEqualContentLengths", request_with("Content-Length: 1\r\nContent-Length: 1\r\n"), 400},
        BadRequest{"ListOfContentLengths", request_with("Content-Length: 1, 1\r\n"), 400},
        BadRequest{"EmptyContentLength", request_with("Content-Length:\r\n"), 400},
        BadRequest{"SignedContentLength", request_with("Content-Length: +5\r\n"), 400},
        BadRequest{"NegativeContentLength", request_with("Content-Length: -5\r\n"), 400},
        BadRequest{"HexadecimalContentLength", request_with("Content-Length: 0x5\r\n"), 400},
        BadRequest{"FractionalContentLength", request_with("Content-Length: 5.0\r\n"), 400},
        BadRequest{"HugeContentLength", request_with("Content-Length: 99999999999999999999\r\n"), 400},
        BadRequest{"ContentLengthBeyondSigned", request_with("Content-Length: 9223372036854775808\r\n"), 400},
        BadRequest{"LengthBeforeCoding", request_with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400},
        BadRequest{"CodingBeforeLength", request_with("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), 400},
        BadRequest{"TwoCodings", request_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
        BadRequest{"Xchunked", request_with("Transfer-Encoding: xchunked\r\n"), 501},
        BadRequest{"Identity", request_with("Transfer-Encoding: identity\r\n"), 501},
        BadRequest{"ChunkedIdentity", request_with("Transfer-Encoding: chunked, identity\r\n"), 400},
        BadRequest{"ChunkedTwice", request_with("Transfer-Encoding: chunked, chunked\r\n"), 400},
        BadRequest{"GzipChunked", request_with("Transfer-Encoding: gzip, chunked\r\n"), 400},
        BadRequest{"QuotedChunked", request_with("Transfer-Encoding: \"chunked\"\r\n"), 501},
        BadRequest{"EmptyCoding", request_with("Transfer-Encoding:\r\n"), 400},
        BadRequest{"CodingInHttp10", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        BadRequest{"NoHost", "GET / HTTP/1.1\r\nAccept: a\r\n\r\n", 400},
        BadRequest{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
        BadRequest{"EmptyHost", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
        BadRequest{"HostWithPath", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        BadRequest{"HostWithUser", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
        BadRequest{"HostWithBadPort", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", 400},
        BadRequest{"ObsFold", request_with("X: a\r\n b\r\n"), 400},
        BadRequest{"FoldedFirstHeader", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
        BadRequest{"BareLfAfterRequestLine", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
        BadRequest{"BareLfAfterHeader", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
        BadRequest{"BareLfAtTheEnd", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        BadRequest{"BareCrInValue", request_with("X: a\rb\r\n"), 400},
        BadRequest{"BareCrInTarget", "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"CrCrLf", request_with("X: a\r\r\n"), 400},
        BadRequest{"NulInValue", request_with("X: a" + kNul + "b\r\n"), 400},
        BadRequest{"NulInName", request_with("X" + kNul + ": a\r\n"), 400},
        BadRequest{"NulInTarget", "GET /" + kNul + " HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"DeleteInValue", request_with("X: a\x7f\r\n"), 400},
        BadRequest{"SpaceBeforeColon", request_with("X : a\r\n"), 400},
        BadRequest{"NoColon", request_with("Xa\r\n"), 400}, BadRequest{"EmptyName", request_with(": a\r\n"), 400},
        BadRequest{"BadMethod", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"EmptyMethod", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"LongMethod", std::string(33, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        BadRequest{"TwoSpaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"SpaceInTarget", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"Fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"NonAsciiTarget", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"RelativeTarget", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"NoTarget", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400}, BadRequest{"Http09", "GET /\r\n\r\n", 400},
        BadRequest{"Http12", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
        BadRequest{"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        BadRequest{"LowerCaseHttp", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
        BadRequest{"BadVersion", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
        BadRequest{"UnknownExpectation", request_with("Expect: 200-ok\r\n"), 417},
        BadRequest{"Tls", "\x16\x03\x01\x02" + kNul + "\x01\n", 400}),
    [](const auto& param) { return param.param.name; });

TEST(RequestParser, LimitsTheRequestLine) {
  const auto request = [](std::size_t target_bytes) {
    return "GET /" + std::string(target_bytes, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  };
  const std::size_t around = std::string_view("GET / HTTP/1.1\r\n").size();
  EXPECT_EQ(status_of(request(8192 - around)), 0);
  EXPECT_EQ(status_of(request(8192 - around + 1)), 414);
  EXPECT_EQ(status_of("GET /" + std::string(8192, 'a')), 414) << "before it is complete";
}

TEST(RequestParser, LimitsAHeaderLine) {
  const auto line = [](std::size_t bytes) { return "X: " + std::string(bytes - 5, 'a') + "\r\n"; };
  EXPECT_EQ(status_of(request_with(line(8192))), 0);
  EXPECT_EQ(status_of(request_with(line(8193))), 431);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nX: " + std::string(8192, 'a')), 431) << "before it is complete";
}

TEST(RequestParser, LimitsTheNumberOfHeaders) {
  std::string lines;
  for (int i = 0; i < 99; ++i) lines += "X: a\r\n";  // beside Host
  EXPECT_EQ(status_of(request_with(lines)), 0);
  EXPECT_EQ(status_of(request_with(lines + "X: a\r\n")), 431);
}

TEST(RequestParser, LimitsTheBlock) {
  const std::string line = "X: " + std::string(1019, 'a') + "\r\n";  // 1024 bytes
  std::string lines;
  for (int i = 0; i < 31; ++i) lines += line;
  EXPECT_EQ(status_of(request_with(lines)), 0);
  EXPECT_EQ(status_of(request_with(lines + line)), 431);
}

// Random requests, good and broken, cut at random places: always the same outcome as in one piece.
TEST(RequestParser, AnySplitParsesAlike) {
  Random random(42);
  const HeadLimits limits{.line_bytes_max = 96, .head_bytes_max = 300, .headers_max = 6};
  const std::string_view starts[] = {"GET / HTTP/1.1\r\n", "POST /a?b HTTP/1.1\r\n", "\r\nPUT http://h/x HTTP/1.0\r\n",
                                     "GET /\n", "BAD\r\n"};
  const std::string_view lines[] = {"Host: h\r\n",
                                    "Host: h\r\n",
                                    "Content-Length: 12\r\n",
                                    "Transfer-Encoding: chunked\r\n",
                                    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
                                    "Connection: close\r\n",
                                    "X: b\n",
                                    "Y : c\r\n",
                                    " folded\r\n",
                                    "Expect: 100-continue\r\n"};
  int requests = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text(starts[random.below(std::size(starts))]);
    const auto count = random.below(8);
    for (std::uint64_t i = 0; i < count; ++i) text += lines[random.below(std::size(lines))];
    text += "\r\n";
    if (random.below(4) == 0) text[random.below(text.size())] = static_cast<char>(random.below(256));
    const Outcome whole = parse_whole(text, limits);
    requests += whole.status == 0;
    std::vector<std::size_t> ends;
    for (std::size_t end = 0; end < text.size(); end += 1 + random.below(20)) ends.push_back(end);
    ends.push_back(text.size());
    EXPECT_EQ(parse_in_pieces(text, ends, limits), whole) << text;
  }
  EXPECT_GT(requests, 100) << "the generator makes valid requests too";
}

// ── Chunked bodies ─────────────────────────────────────────────────────────────────────────────────────────────────

struct Decoded {
  ChunkedDecoder::Progress progress = ChunkedDecoder::Progress::kMore;
  std::string body;
  std::size_t consumed = 0;
  bool operator==(const Decoded&) const = default;
};

// Feeds at most `piece` bytes at a time into room for at most `room` bytes.
Decoded decode(std::string_view text, std::size_t piece, std::size_t room) {
  ChunkedDecoder decoder;
  Decoded decoded;
  std::string out(room, '\0');
  while (decoded.consumed < text.size() && decoded.progress == ChunkedDecoder::Progress::kMore) {
    const auto input = text.substr(decoded.consumed, piece);
    const auto step = decoder.decode(std::as_bytes(std::span(input)), std::as_writable_bytes(std::span(out)));
    EXPECT_TRUE(step.consumed > 0 || step.progress != ChunkedDecoder::Progress::kMore) << "it has to move";
    decoded.progress = step.progress;
    decoded.consumed += step.consumed;
    decoded.body += out.substr(0, step.produced);
    if (step.consumed == 0) break;
  }
  return decoded;
}

TEST(ChunkedDecoder, DecodesAlikeHoweverItIsCut) {
  const std::string_view text = "5\r\nhello\r\n1;ext=\"v\"\r\n \r\n00A\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nGET /";
  const Decoded whole = decode(text, text.size(), 1000);
  EXPECT_EQ(whole.progress, ChunkedDecoder::Progress::kDone);
  EXPECT_EQ(whole.body, "hello 0123456789");
  EXPECT_EQ(text.substr(whole.consumed), "GET /");
  for (std::size_t piece = 1; piece < text.size(); ++piece) {
    for (const std::size_t room : {1, 3, 100}) EXPECT_EQ(decode(text, piece, room), whole) << piece << " " << room;
  }
}

TEST(ChunkedDecoder, RefusesWhatIsMalformed) {
  const std::string cases[] = {
      "\r\n",
      "5 \r\nhello\r\n",
      " 5\r\nhello\r\n",
      "+5\r\nhello\r\n",
      "-1\r\n",
      "0x5\r\nhello\r\n",
      "5\nhello\r\n",
      "5\r\nhello\n",
      "5\r\nhello!\r\n",
      "5\r\nhelloX\n",
      ";a\r\n",
      "1234567890abcdef\r\n",  // one digit too many
      "5;a\nb\r\nhello\r\n",
      "5;a\rb\r\nhello\r\n",
      "0\r\nbad trailer\r\n\r\n",
      "0\r\nT : a\r\n\r\n",
      "0\r\nT: a\n\r\n",
      "0\r\n folded: a\r\n\r\n",
      "0\r\n\rX",
      "0;" + std::string(ChunkedDecoder::kExtensionBytesMax + 1, 'e'),
      "0\r\nT: " + std::string(ChunkedDecoder::kTrailerBytesMax, 't'),
  };
  for (const std::string& text : cases) {
    EXPECT_EQ(decode(text, text.size(), 100).progress, ChunkedDecoder::Progress::kRefused) << text;
    EXPECT_EQ(decode(text, 1, 100).progress, ChunkedDecoder::Progress::kRefused) << text;
  }
}

TEST(ChunkedDecoder, LimitsTheNumberOfTrailers) {
  std::string text = "0\r\n";
  for (std::size_t i = 0; i <= ChunkedDecoder::kTrailersMax; ++i) text += "T: a\r\n";
  EXPECT_EQ(decode(text + "\r\n", text.size(), 10).progress, ChunkedDecoder::Progress::kRefused);
}

}  // namespace
}  // namespace rusm::serve
