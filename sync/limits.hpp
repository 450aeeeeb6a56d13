// Every bound of the protocol in one place, tied to each other. PROTOCOL.md repeats them; a tidy test compares.
#pragma once

#include <cstddef>
#include <cstdint>

namespace doorstep::limits {

// Records and transactions
inline constexpr std::size_t value_bytes_max = 64u << 10;       ///< One text or bytes value.
inline constexpr std::size_t element_key_bytes_max = 32;        ///< Key of an element of a set.
inline constexpr std::size_t supersedes_max = 64;               ///< Dots one operation may supersede.
inline constexpr std::size_t transaction_bytes_max = 1u << 20;  ///< One transaction, encoded.
inline constexpr std::size_t operations_per_transaction_max = 16384;
inline constexpr std::uint32_t kind_max = (1u << 20) - 1;             ///< Record kinds.
inline constexpr std::uint64_t counter_max = std::uint64_t{1} << 62;  ///< First counter of a transaction: no sum with an offset overflows.
inline constexpr std::int64_t time_ms_max = std::int64_t{1}
                                            << 53;  ///< Either side of 1970, some 285,000 years: sums of two never overflow.

// Segments
inline constexpr std::size_t segment_plain_bytes_max = 2u << 20;             ///< After decompression.
inline constexpr std::size_t segment_plain_bytes_goal = 256u << 10;          ///< Where a writer closes a segment.
inline constexpr std::size_t segment_bytes_max = (1u << 20) + (256u << 10);  ///< Sealed, with header and signature.
inline constexpr std::size_t transactions_per_segment_max = 4096;
inline constexpr std::size_t references_per_segment_max = 1024;  ///< Other logs that one segment refers to.

// Rosters
inline constexpr std::size_t roster_entry_bytes_max = 256u << 10;
inline constexpr std::size_t roster_entries_max = 100'000;
inline constexpr std::size_t devices_per_space_max = 4096;
inline constexpr std::size_t incarnations_per_device_max = 256;  ///< Above it: quarantine.
inline constexpr std::size_t logs_per_space_max = 16384;

// The wire
inline constexpr std::size_t frame_bytes_max = 65535;  ///< One Noise message (Noise, section 3).
inline constexpr std::size_t frame_plain_bytes_max = frame_bytes_max - 16;
inline constexpr std::size_t handshake_payload_bytes_max = 1024;  ///< What is accepted before authentication.
inline constexpr std::size_t message_bytes_max = 2u << 20;        ///< One message, reassembled from frames.
inline constexpr std::size_t spaces_per_session_max = 4096;
inline constexpr std::size_t splits_per_session_max = 256;   ///< Above it the session ends, and the next one goes on.
inline constexpr std::uint64_t rekey_after_messages = 1000;  ///< Noise REKEY, each direction.

static_assert(transaction_bytes_max + 4096 < segment_plain_bytes_max, "any transaction fits a segment");
static_assert(segment_plain_bytes_goal + transaction_bytes_max < segment_plain_bytes_max, "a writer may overshoot by one transaction");
static_assert(segment_bytes_max + 4096 < message_bytes_max, "any segment fits a message");
static_assert(roster_entry_bytes_max + 4096 < message_bytes_max, "any roster entry fits a message");

}  // namespace doorstep::limits
