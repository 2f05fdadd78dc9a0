#include "wasm/guest_kv.h"

#include <fmt/format.h>

namespace rusm::wasm {
namespace {

using What = KvQuestion::What;

Result<KvReply> list(const kv::KvStore& store, const std::string& bucket, std::uint32_t keys_max) {
  KvReply reply;
  std::string after;
  for (;;) {
    Result<kv::KvPage> page = store.list(bucket, "", after);
    if (!page) return std::unexpected(std::move(page.error()));
    if (reply.keys.size() + page->keys.size() > keys_max) {
      return fail(ErrorCode::kLimit, bucket,
                  fmt::format("has more than the {} keys that are listed at once", keys_max));
    }
    for (std::string& key : page->keys) reply.keys.push_back(std::move(key));
    if (!page->more) return reply;
    after = reply.keys.back();
  }
}

Result<KvReply> read(const kv::KvStore& store, const KvQuestion& question, std::uint32_t keys_max) {
  if (question.what == What::kList) return list(store, question.bucket, keys_max);
  if (question.what == What::kExists) {
    const Result<bool> found = store.exists(question.bucket, question.key);
    if (!found) return std::unexpected(found.error());
    return KvReply{.found = *found, .value = {}, .keys = {}};
  }
  Result<std::optional<std::string>> value = store.get(question.bucket, question.key);
  if (!value) return std::unexpected(std::move(value.error()));
  if (!*value) return KvReply();
  return KvReply{.found = true, .value = std::move(**value), .keys = {}};
}

Result<KvReply> write(kv::KvStore& store, const KvQuestion& question) {
  if (question.what == What::kDelete) {
    const Result<bool> found = store.remove(question.bucket, question.key);
    if (!found) return std::unexpected(found.error());
    return KvReply{.found = *found, .value = {}, .keys = {}};
  }
  const Result<> done = store.set(question.bucket, question.key, question.value);
  if (!done) return std::unexpected(done.error());
  return KvReply{.found = true, .value = {}, .keys = {}};
}

bool is_write(What what) {
  return what == What::kSet || what == What::kDelete;
}

kv::KvBatch batch_of(KvQuestion question) {
  kv::KvBatch batch;
  std::optional<std::string> value;
  if (question.what == What::kSet) value = std::move(question.value);
  batch.writes.push_back({std::move(question.bucket), std::move(question.key), std::move(value)});
  return batch;
}

}  // namespace

// A read on a thread that may block. It outlives a process that is killed meanwhile.
class GuestKv::Read final : public otp::BlockingJob {
 public:
  Read(const kv::DurableKvStore& store, KvQuestion question, std::uint32_t keys_max)
      : store_(store), hold_(store), question_(std::move(question)), keys_max_(keys_max) {}
  // REQUIRES: is_done().
  Result<KvReply> take() { return std::move(*reply_); }

 private:
  void call() noexcept override { reply_ = read(store_, question_, keys_max_); }

  const kv::DurableKvStore& store_;
  const kv::KvReadHold hold_;
  const KvQuestion question_;
  const std::uint32_t keys_max_;
  std::optional<Result<KvReply>> reply_;
};

GuestKv::GuestKv(const GuestServices& services, std::uint32_t keys_max) : services_(services), keys_max_(keys_max) {}

GuestKv::~GuestKv() {
  if (commit_) commit_->detach();
}

std::optional<Result<KvReply>> GuestKv::ask(otp::Process& self, KvQuestion question) {
  if (services_.durable == nullptr) {
    if (is_write(question.what)) return write(*services_.store, question);
    return read(*services_.store, question, keys_max_);
  }
  if (!read_ && !commit_) {
    if (question.what == What::kGet || question.what == What::kExists) {
      if (std::optional<std::string> value = services_.durable->recent(question.bucket, question.key)) {
        return KvReply{.found = true, .value = std::move(*value), .keys = {}};
      }
    }
    if (is_write(question.what)) {
      commit_ = make_ref<kv::ProcessCommit>(batch_of(std::move(question)), self.runtime(), self.pid());
      services_.durable->submit(commit_);
    } else {
      read_ = make_ref<Read>(*services_.durable, std::move(question), keys_max_);
      self.start_blocking(read_);
    }
  }
  if (read_) {
    if (!read_->is_done()) return std::nullopt;
    self.end_blocking();
    Result<KvReply> reply = read_->take();
    read_.reset();
    return reply;
  }
  if (!commit_->is_done()) return std::nullopt;
  const Result<kv::KvOutcome> outcome = commit_->take();
  commit_.reset();
  if (!outcome) return std::unexpected(outcome.error());
  return KvReply{.found = outcome->removed != 0, .value = {}, .keys = {}};
}

}  // namespace rusm::wasm
