// zstd, bounded. The only file that knows it.
#pragma once

#include <memory>

#include "sync/bytes.hpp"

namespace doorstep {

/// Reusable contexts: one object per thread of work. Move-only.
class Compressor {
 public:
  Compressor();
  ~Compressor();
  Compressor(Compressor&&) noexcept;
  Compressor& operator=(Compressor&&) noexcept;

  /// One zstd frame without checksum or dictionary id (the AEAD around it detects damage).
  Bytes compress(ByteView plain, int level = 3);
  /// Code::corrupt on a bad frame, Code::too_large if it would exceed `plain_bytes_max`: decided before memory is spent.
  Result<Bytes> decompress(ByteView packed, std::size_t plain_bytes_max);

 private:
  friend class Dictionary;
  struct State;
  std::unique_ptr<State> state_;
};

/// Bytes that records resemble, digested for compressing many small ones. The writer decides what goes in and stores it beside what
/// was packed with it.
class Dictionary {
 public:
  explicit Dictionary(ByteView content, int level = 1);
  ~Dictionary();
  Dictionary(Dictionary&&) noexcept;
  Dictionary& operator=(Dictionary&&) noexcept;

  /// Appends the frame to `out`.
  void compress(Compressor& with, ByteView plain, Bytes& out) const;
  Status decompress(Compressor& with, ByteView packed, std::size_t plain_bytes_max, Bytes& plain) const;

  /// Content made of samples: themselves, with the statistics that spare every small frame tables of its own (half its time and a
  /// good part of its size). The samples as they are if they are too few for that. `sizes` add up to the size of `samples`.
  static Bytes content_of(ByteView samples, std::span<const std::size_t> sizes, int level = 1);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace doorstep
