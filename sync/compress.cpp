#include "sync/compress.hpp"

#include <zdict.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <string>
#include <utility>

namespace doorstep {

struct Compressor::State {
  ZSTD_CCtx* compress = nullptr;  // made at first use: a relay never compresses
  ZSTD_DCtx* decompress = nullptr;
  ~State() {
    ZSTD_freeCCtx(compress);
    ZSTD_freeDCtx(decompress);
  }
  // Setting a context up costs as much as packing a small record, so it keeps its last set-up.
  const ZSTD_CDict* dictionary = nullptr;
  int level = 0;
  bool set_up = false;
  ZSTD_CCtx* cctx(int wanted_level, const ZSTD_CDict* wanted_dictionary) {
    if (!compress) compress = ZSTD_createCCtx();
    DOORSTEP_CHECK(compress != nullptr);
    if (std::exchange(set_up, true) && level == wanted_level && dictionary == wanted_dictionary) {
      ZSTD_CCtx_reset(compress, ZSTD_reset_session_only);
      return compress;
    }
    ZSTD_CCtx_reset(compress, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(compress, ZSTD_c_compressionLevel, level = wanted_level);
    ZSTD_CCtx_setParameter(compress, ZSTD_c_checksumFlag, 0);
    ZSTD_CCtx_setParameter(compress, ZSTD_c_dictIDFlag, 0);
    ZSTD_CCtx_refCDict(compress, dictionary = wanted_dictionary);
    return compress;
  }
  ZSTD_DCtx* dctx() {
    if (!decompress) decompress = ZSTD_createDCtx();
    DOORSTEP_CHECK(decompress != nullptr);
    return decompress;
  }
};

Compressor::Compressor() : state_(std::make_unique<State>()) {}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&&) noexcept = default;
Compressor& Compressor::operator=(Compressor&&) noexcept = default;

namespace {

// Frames written here always carry their size (one-shot compression), so a frame without one is not ours.
Result<std::size_t> plain_size(ByteView packed, std::size_t plain_bytes_max) {
  const auto size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN)
    return Error(Code::corrupt, "compressed bytes are not a zstd frame with a size");
  if (size > plain_bytes_max)
    return Error(Code::too_large, "compressed bytes would unpack to more than " + std::to_string(plain_bytes_max) + " bytes");
  return static_cast<std::size_t>(size);
}

}  // namespace

Bytes Compressor::compress(ByteView plain, int level) {
  Bytes out(ZSTD_compressBound(plain.size()));
  const auto size = ZSTD_compress2(state_->cctx(level, nullptr), out.data(), out.size(), plain.data(), plain.size());
  DOORSTEP_CHECK(!ZSTD_isError(size));
  out.resize(size);
  return out;
}

Result<Bytes> Compressor::decompress(ByteView packed, std::size_t plain_bytes_max) {
  DOORSTEP_ASSIGN(const std::size_t size, plain_size(packed, plain_bytes_max));
  Bytes out(size);
  const auto got = ZSTD_decompressDCtx(state_->dctx(), out.data(), out.size(), packed.data(), packed.size());
  if (ZSTD_isError(got) || got != size) return Error(Code::corrupt, "compressed bytes are damaged");
  return out;
}

struct Dictionary::State {
  Bytes content;
  int level;
  ZSTD_CDict* compress = nullptr;
  ZSTD_DDict* decompress = nullptr;
  ~State() {
    ZSTD_freeCDict(compress);
    ZSTD_freeDDict(decompress);
  }
};

Dictionary::Dictionary(ByteView content, int level) : state_(std::make_unique<State>()) {
  state_->content = to_bytes(content);
  state_->level = level;
}
Bytes Dictionary::content_of(ByteView samples, std::span<const std::size_t> sizes, int level) {
  constexpr std::size_t header_bytes_max = 4096;  // entropy tables; a few hundred in practice
  Bytes out(samples.size() + header_bytes_max);
  ZDICT_params_t parameters{};
  parameters.compressionLevel = level;
  const auto size = ZDICT_finalizeDictionary(out.data(), out.size(), samples.data(), samples.size(), samples.data(), sizes.data(),
                                             static_cast<unsigned>(sizes.size()), parameters);
  if (ZDICT_isError(size)) return to_bytes(samples);
  out.resize(size);
  return out;
}

Dictionary::~Dictionary() = default;
Dictionary::Dictionary(Dictionary&&) noexcept = default;
Dictionary& Dictionary::operator=(Dictionary&&) noexcept = default;

void Dictionary::compress(Compressor& with, ByteView plain, Bytes& out) const {
  auto& state = *state_;
  if (!state.compress) state.compress = ZSTD_createCDict(state.content.data(), state.content.size(), state.level);
  DOORSTEP_CHECK(state.compress != nullptr);
  ZSTD_CCtx* const context = with.state_->cctx(state.level, state.compress);
  const auto before = out.size();
  out.resize(before + ZSTD_compressBound(plain.size()));
  const auto size = ZSTD_compress2(context, out.data() + before, out.size() - before, plain.data(), plain.size());
  DOORSTEP_CHECK(!ZSTD_isError(size));
  out.resize(before + size);
}

Status Dictionary::decompress(Compressor& with, ByteView packed, std::size_t plain_bytes_max, Bytes& plain) const {
  auto& state = *state_;
  DOORSTEP_ASSIGN(const std::size_t size, plain_size(packed, plain_bytes_max));
  if (!state.decompress) state.decompress = ZSTD_createDDict(state.content.data(), state.content.size());
  DOORSTEP_CHECK(state.decompress != nullptr);
  plain.resize(size);
  const auto got =
      ZSTD_decompress_usingDDict(with.state_->dctx(), plain.data(), plain.size(), packed.data(), packed.size(), state.decompress);
  if (ZSTD_isError(got) || got != size) return Error(Code::corrupt, "a packed record is damaged");
  return {};
}

}  // namespace doorstep
